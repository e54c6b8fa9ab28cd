"""Rules of guidance as guiders for the modular pipelines of diffusers."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from fermiac._base.calls import public
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.score.guidance import Guidance
from fermiac.score.parametrisation import Parametrisation
from fermiac.targets.torch_modules import import_torch

__all__ = ["diffusers_guider"]

#: The published programs add it to the squared norm of CFG-Zero*.
_TINY = 1e-8


@public
def diffusers_guider(guidance: Guidance, scheduler: Any = None) -> Any:
    """Return a rule of guidance as a guider for the modular pipelines of diffusers.

    It replaces a guider of that library, such as ``ClassifierFreeGuidance``. Guiders see the
    outputs of the network, and not the noisy points.

    Parameters
    ----------
    guidance : Guidance
        The rule. Its scale is a number or a function of the level. ``norm``, ``parallel``,
        ``momentum`` and ``on="denoised"`` need the noisy points, and are refused.
    scheduler : DiffusersScheduler, optional
        The scheduler of the pipeline, which tells the levels of its times. An interval, a scale
        that depends on the level, and ``zero_above`` need it.

    Returns
    -------
    diffusers.guiders.BaseGuidance

    Raises
    ------
    ArgumentError
        If a setting cannot be used by a guider, or the scheduler is needed and not given.
    ImportError
        If diffusers is not installed.

    References
    ----------
    .. [1] J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022, arXiv:2207.12598.

    Examples
    --------
    >>> import fermiac as fm
    >>> rule = fm.score.Guidance(scale=4.0, rescale=0.7)
    >>> pipe.update_components(guider=fm.score.diffusers_guider(rule))  # doctest: +SKIP
    """
    if not isinstance(guidance, Guidance):
        raise ArgumentError(
            f"guidance: {shown(guidance)} was given; fermiac.score.Guidance(...) is needed"
        )
    if guidance._projects or (guidance.rescale and guidance.on != "output"):
        raise ArgumentError(
            "guidance: norm, parallel, momentum and on='denoised' need the noisy points, which a "
            "guider does not see; use fermiac.score.guided"
        )
    if guidance._one_per_row:
        raise ArgumentError("guidance: a scale for each row was given; a guider has one for all")
    parametrisation = getattr(scheduler, "_parametrisation", None)
    if scheduler is not None and not isinstance(parametrisation, Parametrisation):
        raise ArgumentError(
            f"scheduler: {shown(scheduler)} was given; a DiffusersScheduler is needed"
        )
    needs = (
        guidance.interval is not None or callable(guidance.scale) or guidance.zero_above is not None
    )
    if needs and scheduler is None:
        raise ArgumentError(
            "scheduler: the guidance depends on levels; give the DiffusersScheduler of the pipeline"
        )
    return _class()(guidance, scheduler)


@functools.cache
def _class() -> Any:
    """Return the class, made on first use because its base is in diffusers."""
    torch = import_torch()
    try:
        guiders = importlib.import_module("diffusers.guiders")
        output = importlib.import_module("diffusers.guiders.guider_utils").GuiderOutput
    except ImportError as error:
        raise ImportError(
            "diffusers_guider needs diffusers: pip install diffusers", name="diffusers"
        ) from error
    base: Any = guiders.ClassifierFreeGuidance

    class FermiacGuidance(base):  # type: ignore[misc]
        """A rule of guidance of fermiac as a guider."""

        def __init__(self, guidance: Guidance, scheduler: Any) -> None:
            super().__init__(guidance_scale=1.0)
            self.guidance, self._scheduler = guidance, scheduler

        def new(self, **_: Any) -> Any:
            return type(self)(self.guidance, self._scheduler)

        def _level(self) -> float:
            return float(self._scheduler._level_of(float(self._timestep)))

        def _scale(self) -> float:
            """Return the scale at the level of the step; 1 outside of the interval."""
            if self._scheduler is None or self._timestep is None:
                return float(self.guidance._scales(np.ones(1))[0])
            level = np.array([self._level()])
            if not self.guidance._within(level)[0]:
                return 1.0
            return float(self.guidance._scales(level)[0])

        def _is_cfg_enabled(self) -> bool:
            # CFG-Zero* also changes velocities with a scale of 1.
            return bool(self._enabled) and (self.guidance.zero_star or self._scale() != 1.0)

        def forward(self, pred_cond: Any, pred_uncond: Any = None) -> Any:
            if pred_uncond is None or not self._is_cfg_enabled():
                return output(pred=pred_cond, pred_cond=pred_cond, pred_uncond=pred_uncond)
            g, other, scale = self.guidance, pred_uncond, self._scale()
            dims = tuple(range(1, pred_cond.ndim))
            if g.zero_star:
                product = (pred_cond.float() * other.float()).sum(dims, keepdim=True)
                square = other.float().square().sum(dims, keepdim=True) + _TINY
                other = (product / square).to(other.dtype) * other
            made = other + scale * (pred_cond - other)
            if g.zero_above is not None and self._level() > g.zero_above:
                made = torch.zeros_like(made)
            if g.rescale:
                spread = made.std(dims, keepdim=True)
                ratio = pred_cond.std(dims, keepdim=True) / spread
                ratio = torch.where(spread > 0, ratio, torch.ones_like(ratio))
                made = (g.rescale * ratio + (1.0 - g.rescale)) * made
            return output(pred=made, pred_cond=pred_cond, pred_uncond=pred_uncond)

        def __repr__(self) -> str:
            return f"<diffusers guider by {self.guidance!r}>"

    return FermiacGuidance
