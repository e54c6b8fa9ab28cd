"""The exceptions and warnings of fermiac.

The message of an exception says what was given, what is needed and what to do. An exception of the
user's own function is not wrapped. It passes through unchanged, with a note of where it was raised.
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
    "UnknownNameError",
    "WeightWarning",
    "WorkerError",
]


class FermiacError(Exception):
    """Base class of all exceptions that fermiac raises itself."""


class ArgumentError(FermiacError, ValueError):
    """An argument is outside its domain, or arguments contradict each other."""


class RangeError(ArgumentError):
    """Values of a query lie outside their declared range."""


class UnknownNameError(ArgumentError, KeyError):
    """There is no parameter of this name; the message has the nearest."""

    # A KeyError would show the quoted text.
    __str__ = Exception.__str__


class MemoryLimitError(ArgumentError, MemoryError):
    """A call needs more memory than there is; nothing was computed."""


class BudgetExhausted(FermiacError, RuntimeError):
    """A mechanism has returned all the answers that its budget allows.

    If the budget ends within a query of several columns, the attribute `partial_result` is the
    `Answer` for the columns before; otherwise it is None.
    """

    partial_result: object = None


class TargetError(FermiacError, RuntimeError, ValueError):
    """A target (density, integrand, law) returned unusable values.

    Examples are a wrong shape or type, a NaN, an infinity where it is not allowed, and a native
    target that failed.
    """


class NumericalError(FermiacError, ArithmeticError):
    """The computation failed numerically, for instance because of a singular matrix."""


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
    """A worker of an executor died or does not match the driver, or the executor was shut down.

    The attribute `partial_result` is the result of the work that was done, or None.
    """

    partial_result: object = None


class InternalError(FermiacError, RuntimeError):
    """A bug in fermiac. Please report it."""


class FermiacWarning(UserWarning):
    """Base class of all warnings that fermiac gives.

    The attribute `result` is the result that a warning is about, or None. With warnings turned
    into errors the work of a run is therefore not lost.

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
    """A run ended before it converged, or its convergence is in doubt."""


class WeightWarning(FermiacWarning):
    """Importance weights are so uneven that estimates or their errors are unreliable."""


class HeavyTailWarning(WeightWarning):
    """A few evaluations dominate an estimate, whose standard error is probably too small."""


class ClusterWarning(FermiacWarning):
    """Scores of one model are correlated, so that counts are worth less than they seem."""
