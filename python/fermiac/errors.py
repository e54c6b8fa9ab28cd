"""The exceptions and warnings of fermiac.

The message of an exception says what was given, what is needed and what to do. An exception of the
user's own function is not wrapped. It passes through unchanged, with a note of where it was raised.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ArgumentError",
    "BudgetExhausted",
    "CallError",
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
    """Base class of all exceptions that fermiac raises itself.

    Examples
    --------
    >>> import fermiac as fm
    >>> try:
    ...     fm.distributions.Normal(0.0, -1.0)
    ... except fm.errors.FermiacError as error:
    ...     type(error).__name__
    'ArgumentError'
    """


class ArgumentError(FermiacError, ValueError):
    """An argument is outside its domain, or arguments contradict each other.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Normal(0.0, -1.0)
    Traceback (most recent call last):
        ...
    fermiac.errors.ArgumentError: ...
    """


class CallError(ArgumentError, TypeError):
    """A call has an argument that the function does not have, or too many or too few arguments.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.mcmc.sample(fm.targets.banana(), nwalkers=8)
    Traceback (most recent call last):
        ...
    fermiac.errors.CallError: fermiac.mcmc.sample: there is no argument 'nwalkers'; it is ...
    """


class RangeError(ArgumentError):
    """Values of a query lie outside their declared range.

    Examples
    --------
    >>> import fermiac as fm
    >>> mechanism = fm.privacy.LaplaceAnswers(1000, epsilon=1.0, budget=3, rng=0)
    >>> mechanism.query_means(2.0)  # of values that were declared to lie between 0 and 1
    Traceback (most recent call last):
        ...
    fermiac.errors.RangeError: ...
    """


class UnknownNameError(ArgumentError, KeyError):
    """There is no parameter of this name; the message suggests the nearest one.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays([[1.0, 2.0], [3.0, 4.0]], names=["mu", "tau"])
    >>> s["tua"]
    Traceback (most recent call last):
        ...
    fermiac.errors.UnknownNameError: ...
    """

    # A KeyError would show the quoted text.
    __str__ = Exception.__str__


class MemoryLimitError(ArgumentError, MemoryError):
    """A call needs more memory than is available; nothing was computed.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Normal().sample(2**50)
    Traceback (most recent call last):
        ...
    fermiac.errors.MemoryLimitError: ...
    """


class BudgetExhausted(FermiacError, RuntimeError):
    """A mechanism has returned all the answers that its budget allows.

    If the budget ends within a query of several columns, the attribute `partial_result` is the
    `Answer` for the columns that were answered; otherwise it is None.

    Examples
    --------
    >>> import fermiac as fm
    >>> mechanism = fm.privacy.LaplaceAnswers(
    ...     1000, epsilon=1.0, budget=1, on_exhausted="raise"
    ... )
    >>> answer = mechanism.query_means(0.5)
    >>> mechanism.query_means(0.5)
    Traceback (most recent call last):
        ...
    fermiac.errors.BudgetExhausted: ...
    """

    partial_result: object = None


class TargetError(FermiacError, RuntimeError, ValueError):
    """A target (density, integrand, law) returned unusable values.

    Examples are a wrong shape or type, a NaN, an infinity that is not allowed, and a native target
    that failed.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.importance.expect(
    ...     lambda x: x[:, 0] * float("nan"), fm.distributions.Normal(), rng=0
    ... )
    Traceback (most recent call last):
        ...
    fermiac.errors.TargetError: ...
    """


class NumericalError(FermiacError, ArithmeticError):
    """The computation failed numerically, for instance because of a singular matrix.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([1.0, 2.0])
    >>> e = fm.importance.expect(lambda x: 1e-200 * x, law, n=1000, rng=0)
    >>> e.ratio(0, 1)
    Traceback (most recent call last):
        ...
    fermiac.errors.NumericalError: ...
    """


class DivergedError(NumericalError):
    """Parameters of an optimisation are no longer finite.

    The attributes `step`, `token` and `node` say where; `partial_result` is the `OptimizeResult`
    of the steps before.

    Examples
    --------
    >>> import fermiac as fm
    >>> ring = fm.walks.graphs.cycle(5)
    >>> steep = fm.walks.Quadratic(1e200, [1.0, 2.0, 3.0, 4.0, 5.0])
    >>> try:
    ...     fm.walks.optimize(steep, ring, n_steps=100, rng=0)
    ... except fm.errors.DivergedError as error:
    ...     error.step < 100
    True
    """

    step: int
    token: int
    node: int
    partial_result: object = None


class CheckpointError(FermiacError, OSError):
    """A checkpoint or saved result is damaged, foreign or of another version.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.load("no-such-file.safetensors")
    Traceback (most recent call last):
        ...
    fermiac.errors.CheckpointError: ...
    """


class WorkerError(FermiacError, RuntimeError):
    """A worker of an executor died or does not match the driver, or the executor was shut down.

    The attribute `partial_result` is the result of the work that was done, or None.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import fermiac as fm
    >>> pool = ThreadPoolExecutor(1)
    >>> pool.shutdown()
    >>> fm.importance.expect(
    ...     lambda x: x[:, 0], fm.distributions.Normal(), plan=pool, rng=0
    ... )
    Traceback (most recent call last):
        ...
    fermiac.errors.WorkerError: ...
    """

    partial_result: object = None


class InternalError(FermiacError, RuntimeError):
    """A bug in fermiac. Please report it.

    Examples
    --------
    >>> import fermiac as fm
    >>> issubclass(fm.errors.InternalError, fm.errors.FermiacError)
    True
    """


class FermiacWarning(UserWarning):
    """Base class of all warnings that fermiac gives.

    The attribute `result` is the result that a warning is about, or None. The work of a run is
    therefore not lost if warnings are turned into errors.

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
    #: The part of the page of the documentation that explains warnings of this class.
    anchor: ClassVar[str] = "warnings#general"

    def __str__(self) -> str:
        return f"{super().__str__()} [docs: {self.anchor}]"


class WarningText(str):
    """The text of a warning in the `warnings` of a result, with its class as `category`."""

    category: type[FermiacWarning]

    def __new__(cls, text: str, category: type[FermiacWarning] = FermiacWarning) -> WarningText:
        made = super().__new__(cls, text)
        made.category = category
        return made


class ConvergenceWarning(FermiacWarning):
    """A run ended before it converged, or its convergence is in doubt.

    Examples
    --------
    >>> import warnings
    >>> import fermiac as fm
    >>> with warnings.catch_warnings(record=True) as given:
    ...     warnings.simplefilter("always")
    ...     s = fm.mcmc.sample(
    ...         fm.distributions.Normal([0.0, 0.0]),
    ...         kernel="rwm",
    ...         n_warmup=100,
    ...         n_draws=100,
    ...         rng=0,
    ...     )
    >>> given[0].category.__name__
    'ConvergenceWarning'
    """

    anchor = "warnings#convergence"


class WeightWarning(FermiacWarning):
    """Importance weights are so uneven that estimates or their errors are unreliable.

    Examples
    --------
    >>> import warnings
    >>> import fermiac as fm
    >>> here, away = fm.distributions.Normal(0.0, 1.0), fm.distributions.Normal(6.0, 1.0)
    >>> s = fm.Sample.from_arrays(here.sample(1000, rng=0))
    >>> with warnings.catch_warnings(record=True) as given:
    ...     warnings.simplefilter("always")
    ...     t = s.reweight(away, old=here)
    >>> given[0].category.__name__
    'WeightWarning'
    """

    anchor = "warnings#weight"


class HeavyTailWarning(WeightWarning):
    """A few evaluations dominate an estimate, whose standard error is probably too small.

    Examples
    --------
    >>> import warnings
    >>> import fermiac as fm
    >>> with warnings.catch_warnings(record=True) as given:
    ...     warnings.simplefilter("always")
    ...     e = fm.importance.expect(
    ...         lambda x: x[:, 0] > 3.0,
    ...         fm.distributions.Normal(),
    ...         n=3000,
    ...         method="mc",
    ...         rng=0,
    ...     )
    >>> given[-1].category.__name__
    'HeavyTailWarning'
    """

    anchor = "warnings#heavytail"


class ClusterWarning(FermiacWarning):
    """Scores of one model are correlated, so counts contain less information than independent ones.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(0)
    >>> models = np.repeat(np.arange(20), 50)
    >>> shift = stream.normal(20)[models]  # shared by all scores of a model
    >>> inside, outside = stream.normal(1000) + 1 + shift, stream.normal(1000) + shift
    >>> with warnings.catch_warnings(record=True) as given:
    ...     warnings.simplefilter("always")
    ...     a = fm.privacy.audit_scores(inside, outside, clusters=(models, models))
    >>> given[0].category.__name__
    'ClusterWarning'
    """

    anchor = "warnings#cluster"


def __dir__() -> list[str]:
    return sorted(__all__)
