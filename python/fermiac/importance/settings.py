"""The settings of `expect`: its methods with their defaults, laws and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from fermiac._base.strategies import Strategies
from fermiac._base.validate import MOST_NAMES, choice, real, real_numbers, shown, texts, whole, yes
from fermiac.distributions import Law, as_law
from fermiac.distributions.law import refuse_points
from fermiac.errors import ArgumentError
from fermiac.importance.outputs import with_unit_map
from fermiac.targets.callables import as_batch

__all__ = [
    "CONTROLS",
    "METHODS",
    "Drawing",
    "adaptive_settings",
    "as_laws",
    "drawing",
    "expectation_names",
    "with_dim",
]


@dataclass(frozen=True)
class Method:
    """A method of `expect`: the defaults of its adaptive settings, if it adapts."""

    name: str
    core: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    #: Whether it draws more from the law where f is 0 at most of its points.
    explores: bool = False


_AISCV: dict[str, Any] = {
    "weights": "relative",
    "controls": "own",
    "family": "auto",
    "df": 8.0,
    "n_stages": 5,
    "adapt_fraction": 0.5,
    "defensive": 0.1,
    "defensive_base": 0.05,
    "keep_best": True,
    "fallback": True,
    "split_signs": True,
    "diagonal": False,
}
#: The settings of the published algorithm where they differ.
_PAPER = {
    "family": "gaussian",
    "defensive": 0.0,
    "defensive_base": 0.0,
    "keep_best": False,
    "fallback": False,
    "split_signs": False,
}


#: The names of the methods.
MethodName: TypeAlias = Literal["aiscv", "paper", "mc"]
METHODS = Strategies(
    "method",
    Method,
    {
        "aiscv": lambda: Method("aiscv", "aiscv", _AISCV, explores=True),
        "paper": lambda: Method("paper", "aiscv", _AISCV | _PAPER),
        "mc": lambda: Method("mc", "mc"),
    },
)
#: The share of n for the coefficients of controls with a sampler that is used as it is.
CONTROL_SHARE = 0.1
#: The words of the controls.
CONTROLS = ("own", "all", "polynomial", "none")
_WORDS = {
    "controls": CONTROLS,
    "family": ("auto", "gaussian", "t", "mixture"),
}


def adaptive_settings(method: Method, given: dict[str, Any], keeps: bool = False) -> dict[str, Any]:
    """Return the adaptive settings, checked, with the defaults of the method filled in.

    `keeps` is True if a sampler was given that is used without refinement.
    """
    set_by_user = [name for name, value in given.items() if value is not None]
    if keeps:
        others = [name for name in set_by_user if name not in ("controls", "defensive_base")]
        if others:
            raise ArgumentError(
                f"{others[0]}: given with a sampler, which is used as it is; leave it out, or give "
                "pilot_fraction"
            )
    if not method.defaults:
        if set_by_user:
            raise ArgumentError(
                f"{set_by_user[0]}: given with method={method.name!r}, which adapts nothing; leave "
                "it out"
            )
        return _AISCV
    settings = {**method.defaults, **{name: given[name] for name in set_by_user}}
    for name, known in _WORDS.items():
        choice(name, settings[name], known)
    if not isinstance(settings["weights"], str):
        settings["weights"] = _real_vector("weights", settings["weights"])
    elif settings["weights"] not in ("relative", "absolute"):
        raise ArgumentError(
            f"weights: {settings['weights']!r} given; it must be 'relative', 'absolute' or an "
            "array with one weight for each expectation"
        )
    for name in ("df", "adapt_fraction", "defensive", "defensive_base"):
        settings[name] = real(name, settings[name])
    if keeps:
        # Points of the sampler, of which the coefficients of the controls are fitted.
        settings |= {"n_stages": 1, "adapt_fraction": CONTROL_SHARE}
        if given["controls"] is None:
            settings["controls"] = "none"
        if settings["controls"] in ("own", "all") and not settings["defensive_base"]:
            raise ArgumentError(
                f"controls: {settings['controls']!r} given with a sampler and defensive_base=0; "
                "the control is the share of the law in the sampler: raise defensive_base, or use "
                "controls='polynomial' or 'none'"
            )
    settings["n_stages"] = whole("n_stages", settings["n_stages"], 1, 1000)
    for name in ("keep_best", "fallback", "split_signs", "diagonal"):
        settings[name] = yes(name, settings[name])
    return settings


def _real_vector(name: str, value: Any) -> list[float]:
    array = real_numbers(name, value)
    if array.ndim != 1 or array.size == 0:
        raise ArgumentError(f"{name}: an array of shape {array.shape} given; it must be (J,)")
    return [float(x) for x in array]


def as_laws(law: Any) -> list[Law]:
    """Return the law or laws as a list, all of one dimension."""
    laws = list(law) if isinstance(law, list | tuple) else [law]
    if not laws:
        raise ArgumentError("law: an empty sequence given; at least one law is needed")
    laws = [with_dim(x, "law" if len(laws) == 1 else f"law[{i}]") for i, x in enumerate(laws)]
    dims = {x.dim for x in laws}
    if len(dims) > 1:
        raise ArgumentError(
            f"law: laws of dimensions {sorted(dims)} given; they must be equal, as each is a law "
            "of the same points; laws of independent coordinates make one law by "
            "fermiac.distributions.Product([...])"
        )
    return laws


def refuse_product(f: Any, laws: list[Law], error: BaseException) -> None:
    """Raise an error that suggests `Product` if several laws were meant as one law.

    It is called after `f` failed with `error`. If `f` works on points with a coordinate for each
    law, it was written for such points.
    """
    if len(laws) < 2 or not isinstance(error, Exception) or not callable(f):
        return
    try:
        as_batch(f(joint := np.hstack([law.sample(2, rng=0) for law in laws])), joint)
    except Exception:
        return
    raise ArgumentError(
        f"law: {len(laws)} laws of {laws[0].dim} coordinate{'s' if laws[0].dim > 1 else ''} were "
        f"given, each a law of the same points, on which f failed ({type(error).__name__}: "
        f"{error!s:.100}); it takes points of {joint.shape[1]} coordinates: for independent "
        "coordinates give one law, fermiac.distributions.Product([...])"
    ) from error


def with_dim(law: Any, name: str = "law") -> Law:
    """Return a law whose dimension is set."""
    given = as_law(law, name)
    if not isinstance(getattr(given, "dim", None), int | np.integer):
        raise ArgumentError(f"law: {type(given).__name__} has no dim; set it to the dimension")
    return given


@dataclass(frozen=True)
class Drawing:
    """The settings of `expect` for drawing the final sample."""

    points: str
    n_replicates: int | None
    sampler: Law | None
    pilot_fraction: float
    pool: str
    tolerance: tuple[float, float] | None

    @property
    def keeps(self) -> bool:
        """Whether a sampler is used as it is."""
        return self.sampler is not None and self.pilot_fraction == 0

    @property
    def public(self) -> dict[str, Any]:
        """The settings that differ from the defaults, for the settings of a result."""
        out: dict[str, Any] = {}
        if self.points != "random":
            out |= {"points": self.points, "n_replicates": self.n_replicates}
        if self.sampler is not None:
            out["pilot_fraction"] = self.pilot_fraction
        if self.pool != "final":
            out["pool"] = self.pool
        return out


#: The largest number of replicates; with more of them each has almost no points.
MOST_REPLICATES = 10_000


def drawing(
    laws: Sequence[Law],
    points: Any,
    n_replicates: Any,
    sampler: Any,
    pilot_fraction: Any,
    pool: Any = "final",
    tolerance: tuple[float, float] | None = None,
) -> Drawing:
    """Return the checked settings for drawing points."""
    choice("points", points, ("random", "sobol"))
    if n_replicates is not None:
        if points != "sobol":
            raise ArgumentError("n_replicates: given without points='sobol'; leave it out")
        n_replicates = whole("n_replicates", n_replicates, 2, MOST_REPLICATES)
    fraction = 0.0
    if pilot_fraction is not None:
        if sampler is None:
            raise ArgumentError(
                "pilot_fraction: given without a sampler, which it would refine; leave it out"
            )
        fraction = real(
            "pilot_fraction",
            pilot_fraction,
            "a number from 0 to 0.9 is needed",
            lambda share: 0 <= share <= 0.9,
        )
    if sampler is not None:
        sampler = with_dim(sampler, "sampler")
        if sampler.dim != laws[0].dim:
            raise ArgumentError(
                f"sampler: one of {sampler.dim} dimensions given for a law of {laws[0].dim}; train "
                "one for this law"
            )
        refuse_points("sampler", sampler._measure(), "a sampler", "give one with a density")
    if points == "sobol":
        for law in laws:
            with_unit_map(law, "points='sobol'")
        if sampler is not None:
            with_unit_map(sampler, "points='sobol'")
    if pool == "all":
        clash = "points='sobol'" if points == "sobol" else "rtol or atol" if tolerance else None
        if clash is None and sampler is not None and fraction == 0:
            clash = "a sampler that is not refined"
        if clash is not None:
            raise ArgumentError(
                f"pool: 'all' given with {clash}; it is for independent points of an adaptation "
                "and a final sample of fixed size: use pool='final'"
            )
    return Drawing(points, n_replicates, sampler, fraction, pool, tolerance)


def expectation_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of the expectations, whose number is known only after the first call."""
    if names is None:
        return None
    given = texts("names", names, MOST_NAMES)
    if given is None or len(set(given)) != len(given):
        raise ArgumentError(
            f"names: {shown(names)} given; a sequence of different names is needed, one for each "
            "expectation"
        )
    return given
