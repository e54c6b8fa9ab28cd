"""Configurations of schedulers of diffusers: their settings, read, written and translated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, path_of, real, shown, yes
from fermiac.errors import ArgumentError
from fermiac.score import methods
from fermiac.score.arguments import Threshold
from fermiac.score.diffusers_flow import flow_arguments, is_flow
from fermiac.score.diffusers_table import SPACINGS
from fermiac.score.integrator import Integrator, Langevin

__all__ = [
    "Config",
    "arguments_of",
    "read_config",
    "refuse_ddim",
    "write_config",
]

Array = NDArray[np.float64]
T = TypeVar("T")

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
