"""Long calls: checkpoints, executors, runs in the background."""
