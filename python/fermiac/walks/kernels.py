"""The kernels of walks: the effect of a walker's history on its base chain, and its strength."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

from fermiac._base.strategies import Strategies
from fermiac._base.validate import choice, real, shown, whole
from fermiac.errors import ArgumentError
from fermiac.walks.chains import MHDA, SRW, BaseChain, ChainName, named_chains

__all__ = [
    "HDT",
    "KERNELS",
    "SAW",
    "SRRW",
    "TSAW",
    "WALK_KERNELS",
    "Alpha",
    "HistoryKernel",
    "Kernel",
    "Plain",
    "Rotor",
    "Schedule",
    "exponent",
    "kernel_of",
    "named_kernels",
]

Alpha: TypeAlias = "float | tuple[str, float, float, float] | tuple[str, float, float]"
"""A strength of repellence: a number, or a schedule."""

_FORMS = "('linear', from, to, n_steps) or ('log', factor, to)"


@dataclass(frozen=True)
class Schedule:
    """The strength of repellence, step by step."""

    #: "constant", "linear" or "log".
    kind: str = "constant"
    low: float = 0.0
    high: float = 0.0
    n_steps: float = 0.0

    @classmethod
    def of(cls, alpha: Any) -> Schedule:
        """Return the schedule that an ``alpha=`` argument stands for."""
        if not isinstance(alpha, tuple | list):
            return cls("constant", _strength(alpha))
        kind = choice("alpha", alpha[0] if len(alpha) else None, ("linear", "log"))
        rises = kind == "linear"
        if len(alpha) != 3 + rises:
            raise ArgumentError(f"alpha: {shown(tuple(alpha), 80)} was given; {_FORMS} is needed")
        low, high = _strength(alpha[1]), _strength(alpha[2])
        n_steps = float(whole("alpha", alpha[3], 1, 2**53)) if rises else 0.0
        return cls(kind, low, high, n_steps)

    @property
    def is_constant(self) -> bool:
        """Whether the strength is the same in all steps."""
        return self.kind == "constant"

    @property
    def given(self) -> Alpha:
        """The schedule as an ``alpha=`` argument."""
        if self.is_constant:
            return self.low
        if self.n_steps:
            return self.kind, self.low, self.high, int(self.n_steps)
        return self.kind, self.low, self.high

    @property
    def end(self) -> float:
        """The last strength."""
        return self.low if self.is_constant else self.high

    @property
    def arrival(self) -> float:
        """The step after which the strength is constant."""
        if self.is_constant or self.n_steps:
            return self.n_steps
        if self.low >= self.high:
            return 0.0
        return math.exp(min(self.high / self.low, 700.0)) if self.low > 0.0 else math.inf

    def setting(self) -> Any:
        """Return the schedule for the settings of results: a number or a list."""
        given = self.given
        return [given[0], *map(float, given[1:])] if isinstance(given, tuple) else given

    def core(self) -> tuple[str, float, float, float]:
        """Return the schedule for the core."""
        return self.kind, self.low, self.high, self.n_steps


def _strength(alpha: Any) -> float:
    return real(
        "alpha",
        alpha,
        f"a finite number from 0 up is needed, or a schedule: {_FORMS}",
        lambda x: 0.0 <= x < math.inf,
    )


def exponent(name: str, given: Any) -> float:
    """Take an exponent of step sizes."""
    needed = "a number in (1/2, 1] is needed: step sizes must fall, and their sum diverge"
    return real(name, given, needed, lambda x: 0.5 < x <= 1.0)


@dataclass(frozen=True)
class HistoryKernel:
    """Base class of the kernels: frozen settings, and the properties that walks need.

    A new kernel is a subclass with its `name` and the properties that differ from those here. It is
    registered in `KERNELS`.

    Examples
    --------
    >>> import fermiac as fm
    >>> (
    ...     isinstance(fm.walks.SRRW(alpha=5), fm.walks.HistoryKernel),
    ...     fm.walks.SRRW(alpha=5).name,
    ... )
    (True, 'srrw')
    """

    #: The name of the kernel with its default settings.
    name: ClassVar[str]
    #: Whether a strength alpha repels walkers from where they have been.
    repels: ClassVar[bool] = False
    #: Whether steps avoid earlier nodes whatever the strength.
    avoids: ClassVar[bool] = False
    #: Whether steps depend on the visits of the walker.
    uses_history: ClassVar[bool] = False
    #: Whether the history is a measure that is compared with the target, and can forget early
    #: visits.
    has_measure: ClassVar[bool] = False
    #: Whether a step weighs all neighbours.
    scans: ClassVar[bool] = False
    #: Whether a step compares visits with the normalised target.
    needs_shares: ClassVar[bool] = False
    #: Whether averages have a central limit theorem.
    has_clt: ClassVar[bool] = False
    #: Whether the variance of averages falls mode by mode of the base chain.
    by_modes: ClassVar[bool] = False
    #: Whether a noisy history makes errors larger in first order.
    feels_noise: ClassVar[bool] = False
    #: Whether errors fall like 1 / n, so that the bias of the start never becomes small.
    is_superefficient: ClassVar[bool] = False
    #: Whether steps draw no random numbers.
    is_deterministic: ClassVar[bool] = False
    #: Whether walks end by themselves and are whole paths.
    ends: ClassVar[bool] = False
    #: Whether the stationary law has a closed form.
    has_closed_law: ClassVar[bool] = True
    #: Whether a step needs only the neighbourhood of the walker, so that crawls can make it.
    local: ClassVar[bool] = False
    #: Whether steps are those of the base chain.
    is_base: ClassVar[bool] = False
    #: Whether histories may be limited to the last nodes.
    allows_memory_size: ClassVar[bool] = False
    #: The name of the base chain where none is given.
    default_base: ClassVar[ChainName] = "mhda"

    @property
    def schedule(self) -> Schedule:
        """The strength of repellence."""
        return Schedule()

    @property
    def is_plain(self) -> bool:
        """Whether the walk is its base chain."""
        return not self.avoids and self.schedule == Schedule()

    @property
    def settling(self) -> float:
        """Return the steps per node until histories settle, in units of the mean sojourn.

        0 for kernels without a history. The numbers are measured, by benches/walks/calibrate.py.
        """
        return 0.0

    def pull(self, alpha: float) -> float:
        """Return the strength with which the history pulls all averages back."""
        return 0.0

    def base(self, base: BaseChain) -> BaseChain:
        """Return the base chain of the walk; refuse one that does not fit the kernel."""
        return base

    def needs_symmetric(self, base: BaseChain) -> bool:
        """Return whether edges must lead both ways."""
        return True

    def moving(self, base: BaseChain) -> BaseChain:
        """Return the chain that the core runs."""
        return base.inner


@dataclass(frozen=True)
class _Repellent(HistoryKernel):
    """A kernel with a strength of repellence."""

    repels = True
    uses_history = True

    alpha: Alpha = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", Schedule.of(self.alpha).given)

    @property
    def schedule(self) -> Schedule:
        """The strength of repellence."""
        return Schedule.of(self.alpha)


class _Scan(_Repellent):
    """A repellent kernel that computes the weights of all neighbours."""

    scans = True
    default_base = "mhrw"

    @property
    def settling(self) -> float:
        """Return the steps per node until histories settle, in units of the mean sojourn."""
        strength = self.schedule.end
        return 4.0 + strength / 4.0 if strength > 0.0 else 0.0

    def base(self, base: BaseChain) -> BaseChain:
        """Return the base chain; refuse one without known probabilities of neighbours."""
        if not base.scans:
            raise ArgumentError(
                f"base: {base.spec!r} was given with kernel={shown(self.name)}, which needs a "
                "reversible chain whose probabilities are known neighbour by neighbour; take one "
                f"of {named_chains('scans')}, or kernel='hdt'"
            )
        return base


@dataclass(frozen=True)
class Plain(HistoryKernel):
    """No history: the base chain itself.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.Plain().has_clt
    True
    """

    name = "none"
    has_clt = True
    local = True
    is_base = True

    def needs_symmetric(self, base: BaseChain) -> bool:
        """Return whether edges must lead both ways."""
        return base.needs_symmetric


@dataclass(frozen=True)
class SRRW(_Scan):
    """The self-repellent random walk.

    The probabilities of the base chain are multiplied by (visits / target) to the power of -alpha.

    Parameters
    ----------
    alpha : float or tuple, default 5.0
        The strength of repellence, as for `walk`.

    Raises
    ------
    ArgumentError
        For a strength that is not finite or below 0.

    References
    ----------
    .. [1] V. Doshi, J. Hu, D. Y. Eun, "Self-repellent random walks on general graphs", ICML, 2023,
       arXiv:2305.05097.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.SRRW(alpha=10)
    SRRW(alpha=10.0)
    """

    name = "srrw"
    has_measure = True
    has_clt = True
    by_modes = True
    local = True


@dataclass(frozen=True)
class HDT(_Repellent):
    """The history-driven target: the base chain runs towards a target modified by the visits.

    Parameters
    ----------
    alpha : float or tuple, default 5.0
        The strength of repellence, as for `walk`.

    Raises
    ------
    ArgumentError
        For a strength that is not finite or below 0.

    References
    ----------
    .. [1] J. Hu, Y.-T. Ma, D. Y. Eun, "Beyond self-repellent kernels: history-driven target towards
       efficient nonlinear MCMC on general graphs", ICML, 2025, arXiv:2505.18300.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.HDT(alpha=("linear", 0, 20, 5000))
    HDT(alpha=('linear', 0.0, 20.0, 5000))
    """

    name = "hdt"
    has_measure = True
    has_clt = True
    feels_noise = True
    local = True
    allows_memory_size = True

    @property
    def settling(self) -> float:
        """Return the steps per node until histories settle, in units of the mean sojourn."""
        strength = self.schedule.end
        return 15.0 + strength if strength > 0.0 else 0.0

    def pull(self, alpha: float) -> float:
        """Return the strength with which the history pulls all averages back."""
        return alpha

    def base(self, base: BaseChain) -> BaseChain:
        """Return the base chain; refuse one without a target that can depend on history."""
        if base.bent is None:
            raise ArgumentError(
                f"base: {base.spec!r} was given with kernel='hdt', which bends the target of "
                f"chains that accept and refuse; take one of {named_chains('bent')}, or "
                "kernel='srrw'"
            )
        return base

    def moving(self, base: BaseChain) -> BaseChain:
        """Return the chain that the core runs."""
        return base.bent or base.inner


@dataclass(frozen=True)
class TSAW(_Scan):
    """The "true" self-avoiding walk.

    The probabilities of the base chain are multiplied by exp(-alpha (visits - expected visits)).

    Parameters
    ----------
    alpha : float or tuple, default 5.0
        The strength of repellence, as for `walk`.

    Raises
    ------
    ArgumentError
        For a strength that is not finite or below 0.

    References
    ----------
    .. [1] D. J. Amit, G. Parisi, L. Peliti, "Asymptotic behavior of the 'true' self-avoiding walk",
       Physical Review B, 1983, doi:10.1103/PhysRevB.27.1635.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.TSAW(alpha=1).has_clt
    False
    """

    name = "tsaw"
    needs_shares = True
    is_superefficient = True


class _AlongEdges(HistoryKernel):
    """A kernel that moves along edges with equal weights, for any base."""

    avoids = True

    def base(self, base: BaseChain) -> BaseChain:
        """Return the simple random walk; refuse any base but this and the default."""
        if not isinstance(base, SRW | MHDA):
            raise ArgumentError(
                f"base: {base.spec!r} was given with kernel={shown(self.name)}, which moves along "
                "edges that all count alike; take 'srw'"
            )
        return SRW()


@dataclass(frozen=True)
class Rotor(_AlongEdges):
    """The rotor-router walk, which takes the edges of each node in turn.

    References
    ----------
    .. [1] J. N. Cooper, J. Spencer, "Simulating a random walk with constant error", Combinatorics,
       Probability and Computing, 2006, doi:10.1017/S0963548306007565.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.Rotor().is_deterministic
    True
    """

    name = "rotor"
    is_superefficient = True
    is_deterministic = True

    @property
    def settling(self) -> float:
        """Return the steps per node until the rotors have settled."""
        return 4.0


@dataclass(frozen=True)
class SAW(_AlongEdges):
    """The self-avoiding walk: to nodes not yet visited, as long as there are any.

    References
    ----------
    .. [1] N. Madras, G. Slade, "The Self-Avoiding Walk", Birkhäuser, 1996,
       doi:10.1007/978-1-4614-6025-1.
    .. [2] M. N. Rosenbluth, A. W. Rosenbluth, "Monte Carlo calculation of the average extension of
       molecular chains", Journal of Chemical Physics, 1955, doi:10.1063/1.1741967.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.SAW().ends
    True
    """

    name = "saw"
    uses_history = True
    ends = True
    has_closed_law = False

    def needs_symmetric(self, base: BaseChain) -> bool:
        """Return whether edges must lead both ways."""
        return False


KernelName: TypeAlias = Literal["none", "srrw", "hdt", "tsaw", "rotor", "saw"]
"""The names of the kernels."""

Kernel: TypeAlias = "KernelName | HistoryKernel"
"""The type of every ``kernel=`` argument."""

_BY_NAME = {kernel.name: kernel for kernel in (Plain, SRRW, HDT, TSAW, Rotor, SAW)}
_EXAMPLE = "fermiac.walks.SRRW(alpha=5)"

#: All kernels by name.
KERNELS: Strategies[HistoryKernel] = Strategies("kernel", HistoryKernel, _BY_NAME, _EXAMPLE)
#: The same, with "auto".
WALK_KERNELS: Strategies[HistoryKernel] = Strategies(
    "kernel", HistoryKernel, {"auto": HDT, **_BY_NAME}, _EXAMPLE
)


def named_kernels(fact: str) -> str:
    """Return the names of the kernels with a property, for messages."""
    return ", ".join(repr(name) for name, kernel in _BY_NAME.items() if getattr(kernel, fact))


def kernel_of(
    given: object,
    alpha: Any,
    needed: str | None = None,
    known: Strategies[HistoryKernel] = KERNELS,
) -> HistoryKernel:
    """Return the given kernel, with the strength alpha if that was given separately.

    `needed` names a property that the kernel must have.
    """
    kernel = known.resolve(given)
    if needed is not None and not getattr(kernel, needed):
        raise ArgumentError(
            f"kernel: {kernel.name!r} was given; one of {named_kernels(needed)} is needed"
        )
    if alpha is None or not isinstance(kernel, _Repellent):
        return kernel
    if not isinstance(given, HistoryKernel):
        return replace(kernel, alpha=alpha)
    if Schedule.of(alpha) != kernel.schedule:
        raise ArgumentError(
            f"alpha: {shown(alpha)} was given, and the kernel {kernel!r} has another; give it once"
        )
    return kernel
