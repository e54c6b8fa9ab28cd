"""The exceptions and warnings of fermiac, one family.

Every exception says what was given, what is needed and what to do. An exception that the user's
own function raises is not wrapped: it passes through unchanged, with a note of where it happened.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "BudgetExhausted",
    "CheckpointError",
    "ClusterWarning",
    "ConvergenceWarning",
    "DivergedError",
    "FermiacError",
    "FermiacWarning",
    "HeavyTailWarning",
    "InternalError",
    "MemoryLimitError",
    "NumericalError",
    "RangeError",
    "TargetError",
    "WeightWarning",
    "WorkerError",
]


class FermiacError(Exception):
    """The base of all exceptions that fermiac raises itself."""


class ArgumentError(FermiacError, ValueError):
    """An argument is outside its domain, or arguments contradict each other."""


class RangeError(ArgumentError):
    """Values of a query lie outside of the range that was declared for them."""


class MemoryLimitError(ArgumentError, MemoryError):
    """A call would take more memory than there is; nothing was computed."""


class BudgetExhausted(FermiacError, RuntimeError):
    """A mechanism has given all the answers that its budget allows.

    Where it ends within a query of several columns, the attribute `partial_result` is the `Answer`
    of the columns before; elsewhere that is None.
    """

    partial_result: object = None


class TargetError(FermiacError, RuntimeError, ValueError):
    """A target (density, integrand, law) gave something unusable.

    A wrong shape or type, a NaN, an infinity where none may be, a native target that failed.
    """


class NumericalError(FermiacError, ArithmeticError):
    """The arithmetic broke down, by a singular matrix for instance."""


class DivergedError(NumericalError):
    """Parameters of an optimisation are no longer finite.

    The attributes `step`, `token` and `node` say where; `partial_result` is the `OptimizeResult`
    of the steps before.
    """

    step: int
    token: int
    node: int
    partial_result: object = None


class CheckpointError(FermiacError, OSError):
    """A checkpoint or saved result is damaged, foreign or of another version."""


class WorkerError(FermiacError, RuntimeError):
    """A worker of an executor died, or is not like the driver, or the executor was shut down.

    Where the method has something to show for the work that was done, it is the attribute
    `partial_result`; elsewhere that is None.
    """

    partial_result: object = None


class InternalError(FermiacError, RuntimeError):
    """A defect of fermiac itself. Please report it."""


class FermiacWarning(UserWarning):
    """The base of all warnings that fermiac gives.

    Where it is about a result, the attribute `result` is that result: where warnings are made
    errors, the work of a run is not lost with the first of them. Elsewhere it is None.

    Examples
    --------
    >>> import warnings
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error")
    ...     try:
    ...         fm.importance.expect(lambda x: x[:, 0] > 40, law, n=1000, rng=0)
    ...     except fm.errors.FermiacWarning as warning:
    ...         e = warning.result
    >>> e.n_evals
    1000
    """

    result: object = None


class ConvergenceWarning(FermiacWarning):
    """A run ended before what it was to reach, or what it reached is in doubt."""


class WeightWarning(FermiacWarning):
    """Importance weights are so uneven that estimates or their errors are in doubt."""


class HeavyTailWarning(WeightWarning):
    """A few evaluations carry an estimate: its error bar is probably too small."""


class ClusterWarning(FermiacWarning):
    """Scores of one model go together, so that counts are worth less than they seem."""
