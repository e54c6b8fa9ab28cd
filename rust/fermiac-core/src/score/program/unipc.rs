//! The unified predictor-corrector.
