"""Configurations of diffusers schedulers: tables of β, spacings of times, ranges of samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, path_of, positive, real, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score import methods
from fermiac.score.arguments import Threshold
from fermiac.score.diffusers_flow import flow_arguments, is_flow
from fermiac.score.integrator import Integrator, Langevin

__all__ = [
    "SPACINGS",
    "Config",
    "arguments_of",
    "levels_at",
    "read_config",
    "refuse_ddim",
    "require_levels",
    "spaced",
    "table_of",
    "write_config",
]

Array = NDArray[np.float64]
T = TypeVar("T")

#: The spacings of whole times, in place of a schedule of levels.
SPACINGS = ("linspace", "leading", "trailing")

_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
#: The largest β of the cosine schedule, as published.
_MOST = 0.999
#: The substitute for a last a² of 0, whose level would be infinite.
_NEARLY_ZERO = 2.0**-24

#: The relative tolerance at the ends of the table; tables in single precision differ by less.
_SLACK = 5e-3

#: Settings with the same name and meaning here.
_SAME = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "steps_offset",
)
#: Settings of schedulers of this library only.
_OWN = ("integrator", "schedule", "sigma_range", "discrete", "threshold")
#: Settings that would change results and are not known here, with advice.
_REFUSED = {
    "use_beta_sigmas": "give schedule= with a schedule of your own",
    "use_lu_lambdas": "give schedule='exponential', which is even in the same variable",
    "shift": "it is for networks of straight paths: give prediction_type='flow_prediction'",
    "sigma_data": "it is for preconditioned networks; use ScoreModel(..., kind='edm')",
    "snr": "it is for networks of the variance-exploding process; use ScoreModel(..., kind='ve')",
    "sigma_min": "give sigma_range=",
    "sigma_max": "give sigma_range=",
}
#: Those of them that an argument replaces.
_REPLACED = {
    "use_beta_sigmas": "schedule",
    "use_lu_lambdas": "schedule",
    "sigma_min": "sigma_range",
    "sigma_max": "sigma_range",
}


class Config(dict[str, Any]):
    """Settings by key and by attribute."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def arguments_of(config: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a configuration, overridden by `more`."""
    if not isinstance(config, Mapping):
        raise ArgumentError(
            f"config: {type(config).__name__} was given; the config of a scheduler, a dict, is "
            "needed"
        )
    if is_flow({**config, **more}):
        return flow_arguments(config, more)
    for name, advice in _REFUSED.items():
        value = config.get(name)
        if value is None or value is False or _REPLACED.get(name) in more:
            continue
        raise ArgumentError(f"config: {name}={shown(value, 40)} is not known here; {advice}")
    if config.get("timestep_type", "discrete") != "discrete":
        raise ArgumentError(
            f"config: timestep_type={config['timestep_type']!r} is not known here; it is for "
            "preconditioned networks; use ScoreModel(..., kind='edm')"
        )
    known = {name: config[name] for name in (*_SAME, *_OWN) if name in config}
    if "schedule" not in known | more:
        known |= _schedule(config)
    if "threshold" not in known | more:
        known["threshold"] = _threshold(config)
    known |= more
    if known.get("schedule") != "leading" and "steps_offset" not in more:
        known.pop("steps_offset", None)
    return known


def _schedule(config: Any) -> dict[str, Any]:
    for key, name in (("use_karras_sigmas", "karras"), ("use_exponential_sigmas", "exponential")):
        if config.get(key):
            return {"schedule": name}
    if "timestep_spacing" not in config:
        return {}
    return {"schedule": choice("timestep_spacing", config["timestep_spacing"], SPACINGS)}


def _threshold(config: Any) -> Threshold | None:
    if config.get("thresholding"):
        most = config.get("sample_max_value", 1.0)
        if most != 1.0:
            quantile = config.get("dynamic_thresholding_ratio", 0.995)
            raise ArgumentError(
                f"config: thresholding with sample_max_value={shown(most)} is not known here; give "
                f"threshold=Threshold(1.0, {shown(quantile)}), whose quantile has no largest "
                "value, or threshold=None"
            )
        # The quantile is at least 1 and at most 1.
        return Threshold(1.0)
    if config.get("clip_sample"):
        return Threshold(config.get("clip_sample_range", 1.0))
    return None


def spaced(kind: str, n_steps: int, n_times: int, offset: int) -> Array:
    """Return times of the table for a number of steps, strictly decreasing."""
    if n_steps > n_times:
        raise ArgumentError(
            f"num_inference_steps: {n_steps} given for a table of {n_times} times; give no more "
            f"than that, or a schedule of levels, as 'karras', in place of {shown(kind)}"
        )
    if kind == "linspace":
        return np.linspace(n_times - 1, 0, n_steps).round()
    if kind == "trailing":
        return np.linspace(n_times, n_times / n_steps, n_steps).round() - 1.0
    first = float(offset)
    return np.linspace(first + (n_times // n_steps) * (n_steps - 1), first, n_steps)


def levels_at(name: str, times: Array, log_levels: Array) -> Array:
    """Return the levels at times of a table."""
    last = len(log_levels) - 1
    outside = (times < 0) | (times > last)
    if outside.any():
        raise ArgumentError(
            f"{name}: the time {times[outside].flat[0]:g} was given; those of the table reach from "
            f"0 to {last}"
        )
    levels: Array = np.exp(np.interp(times, np.arange(last + 1), log_levels))
    return levels


def require_levels(name: str, levels: Array, ends: tuple[float, float] | None) -> None:
    """Refuse levels beyond a table, for which a network has no times."""
    assert ends is not None
    low, high = ends
    outside = (levels > high * (1 + _SLACK)) | ((levels < low * (1 - _SLACK)) & (levels != 0))
    if outside.any():
        raise ArgumentError(
            f"{name}: {levels[outside].flat[0]:g} was given; the levels of the table reach from "
            f"{low:g} to {high:g}, and the network knows no others"
        )


def table_of(
    n: int, start: float, end: float, kind: str, given: ArrayLike | None, zero_snr: bool
) -> Array:
    """Return the table of a², the products of 1 - β."""
    table: Array = np.multiply.accumulate(1.0 - _betas(n, start, end, kind, given))
    if not zero_snr:
        return table
    # The roots are stretched so that the first stays and the last becomes 0.
    roots: Array = np.sqrt(table)
    table = np.square((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1])))
    table[-1] = min(_NEARLY_ZERO, 0.25 * table[-2])
    return table


def _betas(n: int, start: float, end: float, kind: str, given: ArrayLike | None) -> Array:
    if given is not None:
        betas = numbers("trained_betas", to_numpy(given))
        if betas.ndim != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
            raise ArgumentError(
                f"trained_betas: shape {betas.shape} was given; (T,) is needed, two numbers at "
                "least, between 0 and 1"
            )
        return betas
    n = whole("num_train_timesteps", n, 2, 2**31)
    start, end = positive("beta_start", start), positive("beta_end", end)
    choice("beta_schedule", kind, _BETAS)
    if kind == "linear":
        return np.linspace(start, end, n)
    if kind == "scaled_linear":
        even: Array = np.linspace(start**0.5, end**0.5, n)
        return even**2
    signal: Array = np.cos((np.arange(n + 1) / n + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1.0 - signal[1:] / signal[:-1], _MOST)


def refuse_ddim(eta: float, clipped: bool | None) -> None:
    """Refuse arguments of pipelines for DDIM unless they have no effect."""
    if real("eta", eta, "a number is needed"):
        raise ArgumentError(
            f"eta: {shown(eta, 40)} was given; noise comes from the integrator here: make the "
            "scheduler with 'ancestral' or Ancestral(eta), and leave it out"
        )
    if clipped is not None and yes("use_clipped_model_output", clipped):
        raise ArgumentError(
            "use_clipped_model_output: True was given; give threshold= to the scheduler, whose "
            "integrators always use what is held to a range"
        )


#: The name of the file with the settings of a scheduler, as in diffusers.
_FILE = "scheduler_config.json"


def write_config(folder: str | PathLike[str], config: Config) -> None:
    """Write the settings of a scheduler as JSON."""
    if callable(config.get("schedule")):
        raise ArgumentError("schedule: a function was given, which cannot be saved; give a name")
    kept: dict[str, Any] = {"_class_name": "DiffusersScheduler"}
    for name, value in config.items():
        if isinstance(value, Integrator):
            kept[name] = {"name": type(value).__name__, **asdict(value)}
        elif isinstance(value, Threshold):
            kept[name] = {"bound": value.bound, "quantile": value.quantile}
        elif name == "trained_betas" and value is not None:
            kept[name] = numbers(name, to_numpy(value)).tolist()
        else:
            kept[name] = value
    text, place = json.dumps(kept, indent=2) + "\n", Path(path_of("save_directory", folder))
    place.mkdir(parents=True, exist_ok=True)
    (place / _FILE).write_text(text, encoding="utf-8")


def read_config(folder: str | PathLike[str], subfolder: str) -> dict[str, Any]:
    """Read the settings of a scheduler."""
    if not isinstance(subfolder, str):
        raise ArgumentError(f"subfolder: {shown(subfolder)} was given; a text is needed")
    path = Path(path_of("path", folder)) / subfolder / _FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"path: {path} could not be read ({error}); the folder of a saved scheduler is needed"
        ) from error
    if not isinstance(config, dict):
        raise ArgumentError(f"path: {path} holds no settings")
    given = config.get("integrator")
    if isinstance(given, dict):
        settings = {k: v for k, v in given.items() if k != "name"}
        if settings.get("langevin") is not None:
            settings["langevin"] = _made("langevin", Langevin, settings["langevin"])
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        kind = getattr(methods, str(given.get("name")), None)
        if not (isinstance(kind, type) and issubclass(kind, Integrator)):
            raise ArgumentError(f"path: the integrator {shown(given.get('name'))} is not known")
        config["integrator"] = _made("integrator", kind, settings)
    if isinstance(config.get("threshold"), dict):
        config["threshold"] = _made("threshold", Threshold, config["threshold"])
    if isinstance(config.get("sigma_range"), list):
        config["sigma_range"] = tuple(config["sigma_range"])
    return config


def _made(name: str, kind: type[T], settings: Any) -> T:
    """Return an object with the settings that a file has for it."""
    try:
        return kind(**settings)
    except TypeError as error:
        raise ArgumentError(
            f"path: {name}={shown(settings)} in the file are not the settings of {kind.__name__}"
        ) from error
