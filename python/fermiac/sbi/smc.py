"""Approximate Bayesian computation by a sequence of shrinking distances."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import RngLike, key_of, labels, probability, real, shown, whole
from fermiac.distributions.law import Law, refuse_points, subkey
from fermiac.distributions.scipy import as_law
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    TargetError,
    WeightWarning,
)
from fermiac.random.stream import Stream
from fermiac.results.result import Finding
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.executor import ExecutorLike
from fermiac.runs.loop import Budget, RunLoop, run_and_warn
from fermiac.runs.parts import computed
from fermiac.sbi.distances import (
    Distance,
    DistanceFunction,
    Scale,
    observed_of,
    scale_of,
    spreads,
)
from fermiac.sbi.local_kernels import LocalKernels
from fermiac.sbi.result import AbcSample
from fermiac.targets.named import named_law, names_of

__all__ = ["abc_smc"]

Array = NDArray[np.float64]
Simulator: TypeAlias = "Callable[[Array, Stream], ArrayLike]"
#: The kind of the checkpoints.
_KIND = "abc_smc"
#: The blocks of the streams of an address: its parameters and its simulation.
_PARAMETERS, _SIMULATION = 0, 1
#: A round ends without success after this many times the simulations of the least acceptance rate.
_PATIENCE = 4
#: The largest number of addresses for each particle: the others are outside of the prior, or fail.
_MOST = 1000
#: The largest number of addresses that workers get at once, for each particle.
_TOGETHER = 4
#: Below this number of particles the errors of variances are too small.
_FEW = 500
#: Failed simulations in this share give a warning.
_FAILED = 0.01

_STATE: layout.Layout = {
    "theta": layout.array("f", "n", "d"),
    "summaries": layout.array("f", "n", "k"),
    "apart": layout.array("f", "n"),
    "log_weights": layout.array("f", "n"),
    "new_theta": layout.array("f", "m", "d"),
    "new_summaries": layout.array("f", "m", "k"),
    "scale": layout.array("f", "k"),
    "rounds": layout.array("f", "rounds", 4),
    "round": layout.whole(0),
    "address": layout.whole(0),
    "tried": layout.whole(0),
    "failed": layout.whole(0),
    "n_simulations": layout.whole(0),
    "epsilon": layout.real,
    "next_epsilon": layout.real,
    "finished": layout.flag,
    "reason": layout.text(),
}


class _Simulations:
    """The simulations of a round; each has its own address."""

    progress: Any = None

    def __init__(
        self, simulate: Simulator, prior: Law, k: int, key: int, kernels: LocalKernels | None
    ) -> None:
        self._simulate, self._prior, self._k = simulate, prior, k
        self._key, self._kernels = key, kernels

    def __call__(self, address: int) -> tuple[Array, Array | None]:
        """Return parameters and summaries; None for parameters outside of the prior."""
        if self._kernels is None:
            theta = np.asarray(self._prior.sample(1, rng=subkey(self._key, address)), float)[0]
        else:
            theta = self._kernels.draw(Stream(self._key, address, _PARAMETERS))
            if not self._prior.log_density(theta[None])[0] > -np.inf:
                return theta, None
        stream = Stream(self._key, address, _SIMULATION)
        on = f"with the parameters {theta.tolist()}"
        given = ask(self._simulate, (theta, stream), "simulate", on)
        try:
            summaries = np.array(given, np.float64).reshape(-1)
        except Exception as error:
            raise TargetError(f"simulate: it returned {shown(given)}, not numbers") from error
        if summaries.size != self._k:
            raise TargetError(
                f"simulate: it returned {summaries.size} summaries; {self._k} are needed, as there "
                "are observed"
            )
        return theta, summaries


@dataclass(kw_only=True, eq=False, repr=False)
class _SmcLoop(RunLoop[AbcSample]):
    """The run loop, address by address; the state changes only when one is accepted or refused."""

    simulate: Simulator
    prior: Law
    distance: Distance
    given_scale: str | Array
    n: int
    quantile: float
    target: float
    least: float
    max_rounds: int
    max_simulations: int | None
    key: int
    names: tuple[str, ...]
    settings: Mapping[str, Any]
    executor: ExecutorLike | None

    def __post_init__(self) -> None:
        d, k = self.prior.dim, self.distance.observed.size
        self.total = self.max_rounds * self.n
        #: The particles of the last complete round.
        self._theta, self._summaries = np.empty((0, d)), np.empty((0, k))
        self._distances, self._log_weights = np.empty(0), np.empty(0)
        #: The parameters and summaries that this round has accepted.
        self._accepted: list[tuple[Array, Array]] = []
        #: The distance, simulations, acceptance rate and effective sample size of past rounds.
        self._rounds: list[tuple[float, float, float, float]] = []
        self._round = self._address = self._tried = self._failed = self._n_simulations = 0
        self._epsilon = self._next_epsilon = math.inf
        self._finished, self._reason = False, ""
        self._work: _Simulations | None = None
        if self.executor is not None:
            self.steps = self.n

    # One round.

    def _simulations_of_round(self) -> _Simulations:
        """Return the simulations of the present round."""
        if self._work is None:
            kernels = None
            if self._round:
                kernels = LocalKernels(
                    self._theta,
                    _normalised(self._log_weights),
                    self._distances <= self._next_epsilon,
                )
            own = subkey(self.key, self._round)
            k = self.distance.observed.size
            self._work = _Simulations(self.simulate, self.prior, k, own, kernels)
        return self._work

    def _judge(self, theta: Array, summaries: Array | None) -> None:
        """Accept or refuse the simulation of the next address."""
        self._address += 1
        if summaries is not None:
            self._tried += 1
            self._n_simulations += 1
            finite = bool(np.isfinite(summaries).all())
            self._failed += not finite
            close = finite
            if finite and self._round:
                close = bool(self.distance(summaries[None])[0] <= self._next_epsilon)
            if close:
                self._accepted.append((theta, summaries))
        if len(self._accepted) == self.n:
            self._end_round()
        else:
            self._end_if_too_long()

    def _end_if_too_long(self) -> None:
        """End the run with the round before, if this one takes too long."""
        if self.max_simulations is not None and self._n_simulations >= self.max_simulations:
            self._finish("max_simulations")
        elif self._round and self._tried >= _PATIENCE * self.n / self.least:
            self._finish("acceptance")
        elif self._address >= _MOST * self.n:
            if not self._round:
                raise TargetError(
                    f"simulate: {len(self._accepted)} of {self._tried} simulations gave finite "
                    f"summaries; {self.n} are needed"
                )
            self._finish("acceptance")

    def _end_round(self) -> None:
        """Make the accepted simulations the particles, and choose the next distance."""
        theta = np.stack([t for t, _ in self._accepted])
        summaries = np.stack([s for _, s in self._accepted])
        if self._round:
            work = self._simulations_of_round()
            assert work._kernels is not None
            self._log_weights = np.asarray(
                self.prior.log_density(theta)
            ) - work._kernels.log_density(theta)
            self._epsilon = self._next_epsilon
        else:
            self.distance.scale = spreads(summaries, self.given_scale)
            self._log_weights = np.zeros(self.n)
        self._theta, self._summaries = theta, summaries
        self._distances = self.distance(summaries)
        if not self._round:
            self._epsilon = float(self._distances.max())
        rate = self.n / self._tried
        w = _normalised(self._log_weights)
        self._rounds.append((self._epsilon, float(self._tried), rate, float(1 / (w @ w))))
        self._accepted, self._work = [], None
        self._round += 1
        self._address = self._tried = 0
        smaller = float(np.quantile(self._distances, self.quantile))
        if not smaller < self._epsilon:  # many particles at the largest distance
            smaller = float(self._distances[self._distances < self._epsilon].max(initial=-math.inf))
        smaller = self._epsilon if smaller < 0 else max(smaller, self.target)
        if self._epsilon <= self.target:
            self._finish("epsilon")
        elif self._round > 1 and rate < self.least:
            self._finish("acceptance")
        elif self._round >= self.max_rounds:
            self._finish("max_rounds")
        elif not smaller < self._epsilon:
            self._finish("stalled")
        else:
            self._next_epsilon = smaller

    def _finish(self, reason: str) -> None:
        self._finished, self._reason = True, reason

    # The loop.

    def advance(self, budget: Budget) -> BaseException | None:
        """Simulate at some addresses, and take them in their order."""
        work = self._simulations_of_round()
        if self.executor is None:
            for _ in range(budget.steps):
                self._judge(*work(self._address))
                if self._finished or self._work is not work:
                    break
            return None
        # As many as the round probably needs; those beyond its end are not used.
        rate = max(len(self._accepted), 1) / max(self._address, 1)
        wanted = math.ceil(1.1 * (self.n - len(self._accepted)) / rate)
        first = self._address
        last = first + max(1, min(wanted, _TOGETHER * self.n))
        waiting: dict[int, tuple[Array, Array | None]] = {}
        units: Any = computed
        for address, found in units(
            work,
            range(first, last),
            executor=self.executor,
            store=None,
            tick=self._tick,
            name="simulations",
        ):
            waiting[address] = found
            while self._work is work and not self._finished and self._address in waiting:
                self._judge(*waiting.pop(self._address))
            if self._work is not work or self._finished:
                break
        return None

    def _tick(self, _done: int) -> None:
        # From within a batch, so that a handle can end the run there.
        if self.report is not None and self.done() < self.total:
            self.report(self.done(), self.total)

    def done(self) -> int:
        """Return the number of accepted simulations in all rounds."""
        return self._round * self.n + len(self._accepted)

    def is_complete(self) -> bool:
        """Return whether the last round is over."""
        return self._finished

    def note(self) -> str:
        """Return the distance of the round."""
        return f"epsilon {self._next_epsilon:.3g}"

    def where(self) -> str:
        """Return the round."""
        return f"in round {self._round}, at address {self._address}"

    def snapshot(self, status: str) -> AbcSample | None:
        """Return the particles of the last complete round."""
        if not self._round:
            return None
        equal = self._round == 1
        names = ("epsilon", "n_simulations", "acceptance", "ess")
        return AbcSample(
            draws=self._theta.copy(),
            log_weights=None if equal else self._log_weights.copy(),
            error_model="iid" if equal else "weighted",
            names=self.names,
            distances=self._distances.copy(),
            epsilon=self._epsilon,
            summaries=self._summaries.copy(),
            observed=self.distance.observed,
            scale=self.distance.scale,
            n_simulations=self._n_simulations,
            rounds=tuple(
                {name: int(v) if name[0] == "n" else v for name, v in zip(names, row, strict=True)}
                for row in self._rounds
            ),
            seed=self.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={**self.settings, "ended": self._reason or status},
            n_evals=self._n_simulations,
            wall_time=self.elapsed,
            status=status,
        )

    def state(self) -> dict[str, Any]:
        """Return the particles, and the accepted simulations of the round."""
        d, k = self._theta.shape[1], self._summaries.shape[1]
        return {
            "theta": self._theta,
            "summaries": self._summaries,
            "apart": self._distances,
            "log_weights": self._log_weights,
            "new_theta": np.array([t for t, _ in self._accepted]).reshape(-1, d),
            "new_summaries": np.array([s for _, s in self._accepted]).reshape(-1, k),
            "scale": self.distance.scale,
            "rounds": np.array(self._rounds).reshape(-1, 4),
            "round": self._round,
            "address": self._address,
            "tried": self._tried,
            "failed": self._failed,
            "n_simulations": self._n_simulations,
            "epsilon": self._epsilon,
            "next_epsilon": self._next_epsilon,
            "finished": self._finished,
            "reason": self._reason,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop."""
        sizes = {"d": self.prior.dim, "k": self.distance.observed.size}
        with self.decoding():
            layout.require(state, _STATE, sizes)
            if len(state["theta"]) not in (0, self.n) or len(state["new_theta"]) >= self.n:
                raise layout.Misfit(f"particles that are not those of {self.n}")
            if bool(state["round"]) != bool(len(state["theta"])):
                raise layout.Misfit("a round without particles")
        self._theta, self._summaries = state["theta"], state["summaries"]
        self._distances, self._log_weights = state["apart"], state["log_weights"]
        self._accepted = list(zip(state["new_theta"], state["new_summaries"], strict=True))
        self.distance.scale = state["scale"]
        self._rounds = [(float(a), float(b), float(c), float(e)) for a, b, c, e in state["rounds"]]
        self._round, self._address = state["round"], state["address"]
        self._tried, self._failed = state["tried"], state["failed"]
        self._n_simulations = state["n_simulations"]
        self._epsilon, self._next_epsilon = float(state["epsilon"]), float(state["next_epsilon"])
        self._finished, self._reason = state["finished"], state["reason"]
        self._work = None
        if self.checkpoint is not None and self._accepted:
            # The simulation of an accepted address again, to find a simulator that has changed.
            self._verify(self.checkpoint)

    def _verify(self, checkpoint: RunCheckpoint) -> None:
        work = self._simulations_of_round()
        for address in range(self._address):
            theta, summaries = work(address)
            if (theta == self._accepted[0][0]).all():
                now = np.asarray(summaries, float)
                where = "for the first accepted parameters"
                checkpoint.verify("the simulator gives", where, now.copy, self._accepted[0][1])
                return

    def findings(self, made: AbcSample) -> list[Finding]:
        """Return doubts about the result."""
        found: list[Finding] = []
        ended = {
            "max_rounds": f"{self.max_rounds} rounds",
            "max_simulations": f"{self.max_simulations} simulations",
            "acceptance": f"an acceptance rate of {self._rounds[-1][2]:.2g}",
            "stalled": "a round whose distances are equal",
        }
        if self.target > 0 and made.epsilon > self.target:
            found.append((
                ConvergenceWarning,
                f"the run ended with {ended[self._reason]} at the distance {made.epsilon:.4g}, "
                f"before it reached epsilon={self.target:.4g}; allow more, or compare with "
                "fermiac.sbi.abc",
            ))  # fmt: skip
        elif self._reason in ("max_rounds", "max_simulations"):
            found.append((
                ConvergenceWarning,
                f"the run ended with {ended[self._reason]}, before the acceptance rate fell to "
                f"{self.least:g}; a smaller distance can be reached",
            ))  # fmt: skip
        observed, own = made.observed, made.summaries
        outside = (observed < own.min(0)) | (observed > own.max(0))
        if outside.any() and self.distance.function is None:
            j = int(np.argmax(outside))
            found.append((
                ConvergenceWarning,
                f"the observed summary {j} is {observed[j]:.4g}, outside of the range of the "
                f"accepted simulations, {own[:, j].min():.4g} to {own[:, j].max():.4g}; the model "
                "may not be able to produce it",
            ))  # fmt: skip
        if made.rounds[-1]["ess"] < min(10 * (made.dim + 1), self.n / 2):
            found.append((
                WeightWarning,
                f"the effective sample size of the particles is {made.rounds[-1]['ess']:.0f} of "
                f"{self.n}; more particles are needed",
            ))  # fmt: skip
        elif self.n < _FEW:
            found.append((
                FermiacWarning,
                f"{self.n} particles are few: the errors of variances and other averages of "
                f"squares are about a tenth too small; give n_particles={_FEW} or more",
            ))  # fmt: skip
        if self._failed > _FAILED * self._n_simulations:
            found.append((
                ConvergenceWarning,
                f"{self._failed} of {self._n_simulations} simulations gave NaN or infinities and "
                "were rejected; the posterior is given that simulations succeed",
            ))  # fmt: skip
        return found


def _normalised(logs: Array) -> Array:
    w = np.exp(logs - logs.max())
    out: Array = w / w.sum()
    return out


@public
def abc_smc(
    simulate: Simulator,
    prior: Law | Any,
    observed: ArrayLike,
    n_particles: int = 1000,
    *,
    distance: DistanceFunction | None = None,
    scale: Scale = "mad",
    quantile: float = 0.5,
    epsilon: float = 0.0,
    min_acceptance: float = 0.03,
    max_rounds: int = 50,
    max_simulations: int | None = None,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> AbcSample:
    r"""Infer parameters of a simulator by sequential approximate Bayesian computation [1]_ [2]_.

    Particles are drawn from the prior, and a simulation is made with each of them. In each round
    the accepted particles are perturbed and simulated anew, and those are accepted whose summaries
    are closer to the observed ones than a quantile of the distances of the round before.

    Parameters
    ----------
    simulate : callable
        ``simulate(theta, stream)`` returns the summaries of one simulation, (k,) numbers, from
        parameters of shape (d,). All random numbers come from the `fermiac.random.Stream`. NaN or
        infinite summaries count as a failed simulation, which is rejected.
    prior : Law, frozen scipy.stats law or mapping
        The law of the parameters. A mapping from names to laws is a `fermiac.distributions.Joint`.
    observed : array_like, shape (k,)
        The summaries of the observation.
    n_particles : int, default 1000
        The number of particles, at least 20.
    distance : callable, optional
        ``distance(summaries, observed)`` takes summaries of shape (n, k) and returns (n,) numbers
        that are not negative; by default the Euclidean distance of scaled summaries.
    scale : {"mad", "sd", "none"} or array_like, shape (k,), default "mad"
        The numbers that summaries are divided by for the distance: their median absolute
        deviations or standard deviations in the first round, ones, or numbers of your own.
    quantile : float, default 0.5
        The share of the particles that are closer than the distance of the next round, above 0 and
        below 1.
    epsilon : float, default 0
        The distance at which the run ends.
    min_acceptance : float, default 0.03
        The run ends after the first round with a smaller acceptance rate, above 0 and below 1.
    max_rounds : int, default 50
        The largest number of rounds, the first one included.
    max_simulations : int, optional
        The largest number of simulations. The result is that of the last complete round.
    names : sequence of str, optional
        The names of the parameters; by default those of the prior.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.

    Returns
    -------
    AbcSample
        A weighted sample from the posterior given that the distance is at most ``epsilon``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    TargetError
        If simulations or distances have a wrong shape, or almost all simulations fail.
    NumericalError
        If all particles are equal in a coordinate.
    CheckpointError
        If the file of the checkpoint is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the last complete round, or is None.

    Warns
    -----
    ConvergenceWarning
        If the run ended before it reached `epsilon`, or by `max_rounds` or `max_simulations`; if an
        observed summary lies outside the range of the accepted simulations; or if more than one in
        a hundred simulations failed.
    WeightWarning
        If the effective sample size of the particles is below 10 (d + 1).
    FermiacWarning
        If there are fewer than 500 particles, so that errors of variances are too small.

    Notes
    -----
    A particle is perturbed by a normal law whose covariance is the mean of (θₖ - θ)(θₖ - θ)' over
    the particles θₖ that are closer than the next distance. Of all normal laws this one has the
    largest expected acceptance rate near θ [3]_. A tenth of the perturbations is twice as wide, so
    that the weights have no heavy tail. The weight of a new particle is the prior density
    divided by the density of the perturbed particles.

    Every simulation has an address, its round and its number, and its random numbers depend on the
    address alone. Simulations are accepted in the order of their addresses, so that no number
    depends on the number or the speed of workers, and fast simulations are not preferred. A
    resumed run has the same bits as one that was not stopped.

    The errors of averages over the sample are Monte Carlo errors. Those of means hold for few
    particles. Estimates of variances are skew, with small errors for small estimates, so that the
    errors hold for 500 particles or more. The approximation itself has an error as well, which
    falls with the distance. `fermiac.sbi.abc` can correct for it by a regression.

    References
    ----------
    .. [1] M. A. Beaumont, J.-M. Cornuet, J.-M. Marin, C. P. Robert, "Adaptive approximate Bayesian
       computation", Biometrika, 2009, arXiv:0805.2256.
    .. [2] T. Toni, D. Welch, N. Strelkowa, A. Ipsen, M. P. H. Stumpf, "Approximate Bayesian
       computation scheme for parameter inference and model selection in dynamical systems",
       Journal of the Royal Society Interface, 2009, doi:10.1098/rsif.2008.0172.
    .. [3] S. Filippi, C. P. Barnes, J. Cornebise, M. P. H. Stumpf, "On optimality of kernels for
       approximate Bayesian computation using sequential Monte Carlo", Statistical Applications in
       Genetics and Molecular Biology, 2013, arXiv:1106.6280.

    Examples
    --------
    >>> import fermiac as fm
    >>> def simulate(theta, stream):  # the mean of ten observations
    ...     return theta + 0.1**0.5 * stream.normal(1)
    >>> prior = fm.distributions.Normal(0.0, 3.0)
    >>> s = fm.sbi.abc_smc(simulate, prior, 1.0, 500, min_acceptance=0.2, rng=0)
    >>> e = s.expect(lambda x: x[:, 0])  # the posterior has the mean 0.989
    >>> bool(abs(e.mean - 0.989) < 5 * e.stderr), s.epsilon < 0.5
    (True, True)
    """
    where = plan_of(plan, "executor", "store")
    start = time.perf_counter()
    if not callable(simulate):
        raise ArgumentError(f"simulate: {shown(simulate)} given; a function is needed")
    law, params = named_law(prior, None)
    law = as_law(law, "prior")
    if not isinstance(getattr(law, "dim", None), int | np.integer):
        raise ArgumentError(f"prior: {type(law).__name__} has no dim; set it to the dimension")
    refuse_points("prior", law._measure(), "abc_smc", "use fermiac.sbi.abc for such parameters")
    target = observed_of(observed)
    settings: dict[str, Any] = {
        "n_particles": whole("n_particles", n_particles, 20, 2**31),
        "quantile": probability("quantile", quantile),
        "epsilon": real(
            "epsilon", epsilon, "a number from 0 on is needed", lambda v: 0 <= v < math.inf
        ),
        "min_acceptance": probability("min_acceptance", min_acceptance),
        "max_rounds": whole("max_rounds", max_rounds, 1, 10**6),
        "max_simulations": None
        if max_simulations is None
        else whole("max_simulations", max_simulations, 1, 2**62),
    }
    sizes = scale_of(scale, target.size)
    settings["scale"] = sizes if isinstance(sizes, str) else sizes.tolist()
    known = labels(names_of(names, params), law.dim, "parameter")
    kept = RunCheckpoint.of(where, _KIND)
    key = kept.key(rng) if kept is not None else key_of(rng)
    if kept is not None:
        kept.begin({
            "version": _core.__version__,
            "isa": _core.isa_level,
            "seed": key,
            "dim": int(law.dim),
            "observed": target.tolist(),
            **settings,
        })  # fmt: skip
    fixed = np.ones(target.size) if isinstance(sizes, str) else sizes
    loops: list[_SmcLoop] = []

    def run() -> AbcSample:
        with reporter(where.progress, "abc_smc", "particles") as bar:
            loop = _SmcLoop(
                start=start,
                report=bar,
                checkpoint=kept,
                simulate=simulate,
                prior=law,
                distance=Distance(target, fixed, distance),
                given_scale=sizes,
                n=settings["n_particles"],
                quantile=settings["quantile"],
                target=settings["epsilon"],
                least=settings["min_acceptance"],
                max_rounds=settings["max_rounds"],
                max_simulations=settings["max_simulations"],
                key=key,
                names=known,
                settings=settings,
                executor=where.executor,
            )
            loops.append(loop)
            return loop.run()

    return run_and_warn(run, lambda made: loops[0].findings(made))
