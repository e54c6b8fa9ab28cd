"""Bootstrap error rates of learners, which are refitted to resamples."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import RngLike, choice, key_of, shown, taken, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, TargetError
from fermiac.evaluate.error_rates import (
    METHODS,
    ErrorMethod,
    ErrorRate,
    Tally,
    error_rate,
    findings,
)
from fermiac.evaluate.losses import Loss, LossFunction, LossName, loss_of
from fermiac.evaluate.splits import resample
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.loop import Budget, RunLoop, run_and_warn
from fermiac.runs.shards import evaluated

__all__ = ["Fit", "bootstrap_error"]

Array = NDArray[np.float64]
Fit: TypeAlias = Callable[[Any, NDArray[Any]], Callable[[Any], Any]]
"""``fit(X, y)`` returns ``predict``, and ``predict(X)`` predictions."""
#: The kind of the checkpoints.
_KIND = "bootstrap of an error rate"
#: The largest number of losses in a batch that workers compute.
_NUMBERS = 2**22
#: Resamples that workers compute between two writes of a checkpoint, at first.
_KEPT = 64
#: The part of the key that belongs to the no-information rate.
_PAIRS = 0x4749
_STATE: layout.Layout = {
    "sums": layout.array("f", 4, "n", finite=True),
    "means": layout.array("f", "resamples", finite=True),
    "resubstitution": layout.array("f", "n", finite=True),
}


class _Learner:
    """A function that fits, or an object with the methods ``fit`` and ``predict``."""

    def __init__(self, given: Any) -> None:
        is_estimator = hasattr(given, "fit") and hasattr(given, "predict")
        if not (is_estimator or callable(given)):
            raise ArgumentError(
                f"fit: {shown(given)} given; a function fit(X, y) that returns a function "
                "predict(X), or an object with the methods fit and predict is needed"
            )
        self._given, self._is_estimator = given, is_estimator

    def __call__(self, x: NDArray[Any], y: NDArray[Any], new: NDArray[Any], on: str) -> Any:
        """Return predictions by a fit; all arrays were made for this call alone."""
        if self._is_estimator:
            # The estimator of the caller stays as it is.
            model = copy.deepcopy(self._given)
            ask(model.fit, (x, y), "fit", on, fresh=True)
            predict = model.predict
        else:
            predict = ask(self._given, (x, y), "fit", on, fresh=True)
        if not callable(predict):
            raise TargetError(
                f"fit: it returned a {type(predict).__name__}; a function predict(X) is needed"
            )
        return ask(predict, (new,), "predict", on, fresh=True)


@dataclass(frozen=True)
class _Replicates:
    """The out-of-bag losses of resamples, as a target whose points are the resamples' indices."""

    learner: _Learner
    x: NDArray[Any]
    y: NDArray[Any]
    loss: Loss
    key: int

    def __call__(self, numbers: Array) -> Array:
        """Return a row of losses for each resample, with 0 for the examples in it."""
        out = np.zeros((len(numbers), len(self.y)))
        for row, b in zip(out, numbers[:, 0], strict=True):
            rows = resample(self.key, int(b), len(self.y))
            left = np.bincount(rows, minlength=len(self.y)) == 0
            on = f"for resample {int(b)}"
            predicted = self.learner(self.x[rows], self.y[rows], self.x[left], on)
            row[left] = self.loss(self.y[left], predicted)
        return out


@dataclass(kw_only=True, eq=False, repr=False)
class _ErrorLoop(RunLoop[ErrorRate]):
    """The run loop of an error rate, resample by resample."""

    replicates: _Replicates
    #: The same, or its evaluation by workers.
    target: Callable[[Array], Array]
    n_resamples: int
    method: str
    settings: Mapping[str, Any]
    batch: int

    def __post_init__(self) -> None:
        self.total = self.n_resamples
        self.most_steps = max(self.batch, 1)
        self._tally = Tally.empty(len(self.replicates.y))
        self._whole: tuple[Array, float] | None = None

    def begin(self) -> None:
        """Fit the learner to all examples, unless `restore` has done so."""
        if self._whole is not None:
            return
        own = self.replicates
        predicted = own.learner(own.x.copy(), own.y.copy(), own.x.copy(), "for all examples")
        losses = own.loss(own.y, predicted)
        gamma = own.loss.no_information(own.y, predicted, subkey(own.key, _PAIRS))
        self._whole = losses, gamma

    def advance(self, budget: Budget) -> BaseException | None:
        """Add some resamples."""
        n = len(self.replicates.y)
        first = self.done()
        stop = min(first + budget.steps, self.n_resamples)
        together = 1 if self.target is self.replicates else stop - first
        for start in range(first, stop, together):
            b = np.arange(start, min(start + together, stop), dtype=float)
            rows = self.target(b[:, None])
            for number, row in zip(b, rows, strict=True):
                counts = np.bincount(resample(self.replicates.key, int(number), n), minlength=n)
                self._tally = self._tally.plus(counts.astype(float), row)
        return None

    def done(self) -> int:
        """Return the number of resamples so far."""
        return self._tally.size

    def snapshot(self, status: str) -> ErrorRate | None:
        """Return the error rate so far."""
        if self._whole is None or not self.done():
            return None
        provenance = {
            "seed": self.replicates.key,
            "version": _core.__version__,
            "isa": _core.isa_level,
            "settings": self.settings,
            "n_evals": self.done() + 1,
            "wall_time": self.elapsed,
            "status": status,
        }
        losses, gamma = self._whole
        loss = self.replicates.loss.name
        return error_rate(self._tally, losses, gamma, self.method, loss, provenance)

    def state(self) -> dict[str, Any]:
        """Return the sums, and the losses of the fit to all examples, to identify the learner."""
        *sums, means, size = self._tally
        whole = np.zeros(len(self.replicates.y)) if self._whole is None else self._whole[0]
        return {
            "sums": np.array(sums),
            "means": np.array(means[:size], float),
            "resubstitution": whole,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop; the learner must be the same."""
        n = len(self.replicates.y)
        with self.decoding():
            layout.require(state, _STATE, {"n": n})
        self.begin()
        assert self._whole is not None
        if self.checkpoint is not None and len(state["means"]):
            now = self._whole[0]
            self.checkpoint.verify(
                "the learner has the loss", "at an example", lambda: now, state["resubstitution"]
            )
        # A file with more resamples than this call asks for would answer another question.
        with self.decoding():
            if len(state["means"]) > self.n_resamples:
                raise layout.Misfit(
                    f"{len(state['means'])} resamples, more than the {self.n_resamples} of this "
                    "call"
                )
        left, losses, drawn, weighted = state["sums"]
        means = state["means"].tolist()
        self._tally = Tally(left, losses, drawn, weighted, means, len(means))

    def where(self) -> str:
        """Return how many resamples there are."""
        return f"after {self.done()} resamples"


@public
def bootstrap_error(
    fit: Fit | Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: LossName | LossFunction = "zero-one",
    method: ErrorMethod = "632+",
    n_resamples: int = 200,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> ErrorRate:
    """Return the expected loss of a learner on new examples, by refits to bootstrap resamples.

    A resample leaves out 0.368 of the examples, on average. The out-of-bag error is the mean of
    their losses, first for each example and then over the examples. It is too large, because a
    resample has fewer distinct examples. The resubstitution error, the loss of the model that is
    fitted to all examples on the same examples, is too small. The .632 rule is 0.632 times the
    out-of-bag error plus 0.368 times the resubstitution error [1]_. The .632+ rule gives more
    weight to the out-of-bag error if the relative overfitting rate is larger [2]_.

    Parameters
    ----------
    fit : callable or object
        ``fit(X, y)`` returns a function ``predict``, and ``predict(X)`` the predictions. An object
        with methods ``fit`` and ``predict``, such as those of scikit-learn, is copied for each fit.
    X : array_like, shape (n, ...)
        The inputs of the examples, on the first axis.
    y : array_like, shape (n,)
        The true values: labels of any kind, or numbers.
    loss : {"zero-one", "squared", "absolute"} or callable, default "zero-one"
        A function ``loss(y, predictions)`` returns the loss of each prediction. A prediction may be
        a row of probabilities. Smaller losses are better.
    method : {"632+", "632", "out-of-bag"}, default "632+"
        The estimate.
    n_resamples : int, default 200
        The number of resamples; each takes one fit.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.

    Returns
    -------
    ErrorRate

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    TargetError
        If the fit returns no function, or predictions or losses have a wrong shape.
    CheckpointError
        If the file of the checkpoint is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is from the resamples so far, or None.

    Warns
    -----
    FermiacWarning
        If an example is in all resamples, the standard error is mostly Monte Carlo noise, fewer
        than ten errors or right answers are expected, ``"632"`` is used for a learner that
        overfits, or ``"632+"`` for one that overfits so much that the rule may be wrong.

    Notes
    -----
    The estimate is of the error of models that are fitted to n examples. The standard error is that
    of the infinitesimal jackknife [2]_, from the covariance between the loss of a resample and the
    number of times that it has each example. The variance that the noise of B resamples adds,
    n var(q) / (B e²), is subtracted. Here q is the sum of the out-of-bag losses of a resample
    divided by n, and e the share of the examples that is left out. The dependence of the
    resubstitution error on the fit is neglected. In about 95 % of data sets the out-of-bag error is
    within two standard errors of the truth. The same is true of ``"632+"`` for learners that
    overfit little. Its coverage is lower for learners that memorise their examples, such as one
    nearest neighbour.

    A learner that draws random numbers needs a fixed seed of its own. Otherwise results differ
    between calls.

    If you choose among several learners by these estimates, test the chosen one on other examples.

    References
    ----------
    .. [1] B. Efron, "Estimating the error rate of a prediction rule: improvement on
       cross-validation", Journal of the American Statistical Association, 1983,
       doi:10.1080/01621459.1983.10477973.
    .. [2] B. Efron, R. Tibshirani, "Improvements on cross-validation: the .632+ bootstrap method",
       Journal of the American Statistical Association, 1997, doi:10.1080/01621459.1997.10474007.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(0)
    >>> y = np.arange(80) % 2
    >>> x = stream.normal((80, 2)) + y[:, None]
    >>> def nearest_mean(x, y):
    ...     means = np.stack([x[y == k].mean(axis=0) for k in (0, 1)])
    ...     return lambda new: ((new[:, None] - means) ** 2).sum(-1).argmin(1)
    >>> e = fm.evaluate.bootstrap_error(nearest_mean, x, y, rng=0)  # the truth is 0.24
    >>> e.resubstitution < e.estimate < e.out_of_bag, abs(e.estimate - 0.24) < 2 * e.stderr
    (True, True)
    """
    where = plan_of(plan, "executor", "store")
    start = time.perf_counter()
    learner, measured = _Learner(fit), loss_of(loss)
    inputs, truths = taken("X", X), taken("y", y)
    if truths.dtype.kind not in "biufOSTU":
        raise ArgumentError(
            f"y: an array of type {truths.dtype} given; labels (numbers or text) or numbers are "
            "needed"
        )
    if truths.ndim != 1 or truths.size < 2:
        raise ArgumentError(
            f"y: an array of shape {truths.shape} given; (n,) is needed, with n at least 2"
        )
    if inputs.ndim < 1 or len(inputs) != truths.size:
        raise ArgumentError(
            f"X: an array of shape {inputs.shape} given for {truths.size} truths; "
            f"({truths.size}, ...) is needed"
        )
    if truths.dtype.kind == "f" and not np.isfinite(truths).all():
        raise ArgumentError("y: NaN or infinities given; leave such examples out")
    chosen = choice("method", method, METHODS)
    count = whole("n_resamples", n_resamples, 2, 2**31)
    kept = RunCheckpoint.of(where, _KIND)
    key = key_of(rng) if kept is None else kept.key(rng)
    settings = {"loss": measured.name, "method": chosen, "n_resamples": count}
    if kept is not None:
        data = (inputs, truths)
        kept.begin({
            "version": _core.__version__,
            "isa": _core.isa_level,
            "seed": key,
            "loss": measured.name,
            **{name: _digest(array) for name, array in zip(("X", "y"), data, strict=True)},
        })  # fmt: skip
    replicates = _Replicates(learner, inputs, truths, measured, key)

    def run() -> ErrorRate:
        with (
            reporter(where.progress, "bootstrap_error", "resamples") as bar,
            evaluated(
                replicates,
                where.executor,
                resolve_threads(where.n_threads),
                bar,
                integrand=True,
            ) as (target, shown_bar),
        ):
            most = max(_NUMBERS // truths.size, 1)
            # Workers get all resamples at once, or with a checkpoint as many as it may lose.
            together = most if kept is None else min(most, _KEPT)
            loop = _ErrorLoop(
                start=start,
                report=shown_bar,
                checkpoint=kept,
                replicates=replicates,
                target=target,
                n_resamples=count,
                method=chosen,
                settings=settings,
                batch=most,
                steps=1 if where.executor is None else together,
            )
            return loop.run()

    return run_and_warn(run, findings)


def _digest(array: NDArray[Any]) -> str:
    """Return a digest of examples, which identifies them in a resumed run."""
    if array.dtype.hasobject:
        content = repr(array.tolist()).encode()
    else:
        content = np.ascontiguousarray(array).tobytes()
    return blake2b(
        repr((array.dtype.str, array.shape)).encode() + content, digest_size=8
    ).hexdigest()
