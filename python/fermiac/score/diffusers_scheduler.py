"""Integrators as a scheduler that pipelines of the library diffusers take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.arguments import Threshold
from fermiac.score.device_program import Rules
from fermiac.score.diffusers_config import (
    SPACINGS,
    Config,
    arguments_of,
    levels_at,
    refuse_ddim,
    require_levels,
    spaced,
    table_of,
)
from fermiac.score.diffusers_steps import SchedulerStep, Steps, firsts_of
from fermiac.score.levels import levels_of
from fermiac.score.parametrisation import Parametrisation
from fermiac.score.schedules import schedule_of
from fermiac.score.single_step import Integrator, as_integrator
from fermiac.targets.torch_modules import import_torch

__all__ = ["DiffusersScheduler"]

Array = NDArray[np.float64]

_PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


class DiffusersScheduler:
    """Any integrator of fermiac as a scheduler for the pipelines of diffusers.

    It takes the place of a scheduler of that library, which it does not import. Samples are those
    of the variance-preserving process that the table of β says, so that starting noise has variance
    1 and samples are not scaled. A method that evaluates the network several times in a step has
    as many entries in `timesteps` for it.

    Parameters
    ----------
    integrator : str or Integrator, default "dpmpp_2m"
        How; see `Integrator`.
    num_train_timesteps : int, default 1000
        Times in the table.
    beta_start, beta_end : float
        Its ends, by default 0.0001 and 0.02.
    beta_schedule : {"linear", "scaled_linear", "squaredcos_cap_v2"}, default "linear"
        What is even in time between them: β, or its root; or the cosine schedule of [2]_.
    trained_betas : array_like, optional
        The table itself.
    prediction_type : {"epsilon", "sample", "v_prediction"}, default "epsilon"
        What the network gives.
    rescale_betas_zero_snr : bool, default False
        Whether the table is stretched so that at its last time next to nothing of the data is left
        [3]_, for networks that were trained so.
    schedule : str or callable, default "karras"
        Where the levels lie; as of `sample`. Or how whole times are spread: ``"linspace"`` over
        all of the table; ``"leading"`` or ``"trailing"``, every (T / n)-th from its lowest or from
        its highest.
    steps_offset : int, default 0
        What is added to times that are ``"leading"``.
    sigma_range : tuple of float, optional
        The lowest and the highest level, within those of the table, which are the default. Not for
        whole times.
    discrete : bool, default False
        Whether times are rounded to whole numbers, for networks that know no others.
    threshold : float or Threshold, optional
        Hold denoised points to a range; as of `integrate`.

    Attributes
    ----------
    timesteps : torch.Tensor
        The times at which the network is asked; before `set_timesteps`, those of the table.
    sigmas : torch.Tensor
        The levels of the steps, the last of which is 0; before, those of the table.
    init_noise_sigma : float
        1.
    order : int
        Evaluations of the network in a step.
    config : dict
        The settings, by key or attribute.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or the integrator adds noise before it asks for
        anything, as `Heun` with `churn` does.

    Notes
    -----
    Noise is that of torch's generators, as is usual there, and not of fermiac's addresses.

    Pipelines that take any scheduler keep it: ``DDPMPipeline``, those of Stable Diffusion and the
    like. ``DDIMPipeline`` makes a DDIM scheduler of what it is given, without a word: set
    ``pipe.scheduler`` once it is made. Noise comes from the integrator, ``"ancestral"`` for
    instance, and not from the ``eta`` of a pipeline.

    References
    ----------
    .. [1] J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020.
    .. [2] A. Nichol, P. Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021.
    .. [3] S. Lin, B. Liu, J. Li, X. Yang, "Common diffusion noise schedules and sample steps are
       flawed", WACV 2024.

    Examples
    --------
    What a pipeline does, with a function in place of a network: the noise in standard normal data.

    >>> import fermiac as fm
    >>> import torch  # doctest: +SKIP
    >>> s = fm.score.DiffusersScheduler("unipc2")
    >>> s.set_timesteps(40)  # doctest: +SKIP
    >>> x = torch.tensor([[1.0, -2.0]]) * s.init_noise_sigma  # doctest: +SKIP
    >>> for t in s.timesteps:  # doctest: +SKIP
    ...     b = s.add_noise(torch.zeros(1, 1), torch.ones(1, 1), t)
    ...     x = s.step(b * x, t, x).prev_sample
    >>> x.round(decimals=2)  # doctest: +SKIP
    tensor([[ 1.0000, -2.0100]])

    In pipelines:

    >>> pipe = diffusers.DDPMPipeline(unet, s)  # doctest: +SKIP
    >>> pipe(num_inference_steps=10).images  # doctest: +SKIP
    >>> pipe = diffusers.StableDiffusionPipeline.from_pretrained(name)  # doctest: +SKIP
    >>> pipe.scheduler = s.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    init_noise_sigma = 1.0

    def __init__(
        self,
        integrator: str | Integrator = "dpmpp_2m",
        num_train_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: ArrayLike | None = None,
        prediction_type: str = "epsilon",
        *,
        rescale_betas_zero_snr: bool = False,
        schedule: str | Callable[[int, float, float], ArrayLike] = "karras",
        steps_offset: int = 0,
        sigma_range: tuple[float, float] | None = None,
        discrete: bool = False,
        threshold: float | Threshold | None = None,
    ) -> None:
        self.integrator = as_integrator(integrator)
        choice("prediction_type", prediction_type, tuple(_PREDICTIONS))
        table = table_of(
            num_train_timesteps,
            beta_start,
            beta_end,
            beta_schedule,
            trained_betas,
            yes("rescale_betas_zero_snr", rescale_betas_zero_snr),
        )
        self._parametrisation = Parametrisation(
            _PREDICTIONS[prediction_type],
            "vp",
            alphas_cumprod=table,
            discrete=yes("discrete", discrete),
        )
        self._schedule = schedule
        self._offset = whole("steps_offset", steps_offset, 0, len(table) - 1)
        if steps_offset and schedule != "leading":
            raise ArgumentError(
                f"steps_offset: given with schedule={schedule!r:.40}; it is for 'leading' times"
            )
        self._sigma_range = self._range(sigma_range)
        if threshold is not None and not isinstance(threshold, Threshold):
            threshold = Threshold(threshold)
        self._rules = Rules(
            None if threshold is None else threshold._spec(), "ignore", self.integrator._langevin()
        )
        self.config = Config(
            integrator=integrator,
            num_train_timesteps=len(table),
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule=beta_schedule,
            trained_betas=trained_betas,
            prediction_type=prediction_type,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
            schedule=schedule,
            sigma_range=sigma_range,
            discrete=discrete,
            threshold=threshold,
        )
        if schedule == "leading":
            # Elsewhere it says nothing, and pipelines complain of values that they do not expect.
            self.config["steps_offset"] = steps_offset
        self._refuse_schedule()
        grid = np.array([4.0, 2.0, 1.0, 0.0])
        first = self.integrator._program(grid).ops[0]
        if first[:2] != ("denoise", 0):
            raise ArgumentError(
                f"integrator: {integrator!r} adds noise before it asks the network for anything, "
                "which a pipeline does not know of; use Heun without churn, or another integrator"
            )
        self.order = self.integrator.n_evals(2) - self.integrator.n_evals(1)
        self.num_inference_steps: int | None = None
        self._timesteps: Any = None
        self._sigmas: Any = None
        self._grid: Array | None = None
        self._steps: Steps | None = None
        self._begin: int | None = None

    def _range(self, given: Any) -> tuple[float, float]:
        ends = self._parametrisation.sigma_range()
        assert ends is not None
        if given is None:
            return ends
        if self._schedule in SPACINGS:
            raise ArgumentError(
                f"sigma_range: given with schedule={self._schedule!r}, which spreads times over "
                "the table; give a schedule of levels, as 'karras'"
            )
        low, high = levels_of("sigma_range", given)
        self._require_inside("sigma_range", np.array([low, high]))
        return low, high

    def _require_inside(self, name: str, levels: Array) -> None:
        require_levels(name, levels, self._parametrisation.sigma_range())

    def _refuse_schedule(self) -> None:
        """Let an unknown schedule fail now, not in a pipeline."""
        if isinstance(self._schedule, str) and self._schedule not in SPACINGS:
            schedule_of(self._schedule, 3, *self._sigma_range, True)
        elif not isinstance(self._schedule, str) and not callable(self._schedule):
            raise ArgumentError(
                f"schedule: {type(self._schedule).__name__} was given; a name or a function is "
                "needed"
            )

    # Made when they are asked for, because making a scheduler does not import torch.

    @property
    def timesteps(self) -> Any:
        """The times at which the network is asked; before `set_timesteps`, those of the table."""
        if self._timesteps is None:
            return import_torch().arange(len(self) - 1, -1, -1)
        return self._timesteps

    @property
    def sigmas(self) -> Any:
        """The levels of the steps, the last of which is 0; before, those of the table."""
        if self._sigmas is None:
            torch, logs = import_torch(), self._parametrisation.log_levels
            assert logs is not None
            return torch.tensor(np.append(np.exp(logs[::-1]), 0.0), dtype=torch.float32)
        return self._sigmas

    @classmethod
    def from_config(cls, config: Any, **more: Any) -> DiffusersScheduler:
        """Make a scheduler for the table and the prediction of another scheduler.

        Parameters
        ----------
        config : dict
            Its ``config``. What is taken: the table, the prediction, the range that samples are
            held to (``clip_sample``, ``thresholding``), and how levels or times are spread
            (``use_karras_sigmas``, ``use_exponential_sigmas``, else ``timestep_spacing``); of a
            `DiffusersScheduler`, all. What says how its own method goes is left out, and the last
            step goes to level 0.
        **more
            Arguments that it does not say, or says otherwise.

        Returns
        -------
        DiffusersScheduler

        Raises
        ------
        ArgumentError
            If it has something that changes samples and is not known here: levels of straight
            paths, for instance. An argument that says it otherwise lets it pass.

        Examples
        --------
        >>> import fermiac as fm
        >>> config = {"beta_schedule": "scaled_linear", "beta_end": 0.012, "clip_sample": True}
        >>> s = fm.score.DiffusersScheduler.from_config(config, integrator="heun")
        >>> s.order, s.config.threshold
        (2, Threshold(bound=1.0, quantile=None))
        >>> fm.score.DiffusersScheduler.from_config(s.config).config.integrator
        'heun'
        """
        return cls(**arguments_of(config, more))

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        *,
        sigmas: ArrayLike | None = None,
        timesteps: ArrayLike | None = None,
    ) -> None:
        """Choose the levels of the steps.

        Parameters
        ----------
        num_inference_steps : int, optional
            Steps, the one to level 0 included.
        device : torch.device or str, optional
            Where `timesteps` lies.
        sigmas : array_like, optional
            The levels themselves, strictly decreasing; a last 0 may be left out.
        timesteps : array_like, optional
            The times of the levels in the table.

        Raises
        ------
        ArgumentError
            If not just one of the three is given, the levels do not decrease, or lie beyond those
            of the table.
        """
        torch = import_torch()
        if sum(given is not None for given in (num_inference_steps, sigmas, timesteps)) != 1:
            raise ArgumentError(
                "set_timesteps: one of num_inference_steps, sigmas and timesteps is needed"
            )
        if num_inference_steps is not None:
            n = whole("num_inference_steps", num_inference_steps, 1, 10**6)
            grid = self._scheduled(n)
        else:
            name = "sigmas" if timesteps is None else "timesteps"
            given = numbers(name, to_numpy(sigmas if timesteps is None else timesteps))
            if given.ndim != 1 or not given.size:
                raise ArgumentError(f"{name}: shape {given.shape} was given; (N,) is needed")
            grid = given if timesteps is None else self._levels(name, given)
            grid = grid if grid[-1] == 0 else np.append(grid, 0.0)
            self._require_inside(name, grid)
        program = self.integrator._program(grid)
        asked = [program.coefficients[op[3]] for op in program.ops if op[0] == "denoise"]
        # Levels at the ends may be off by rounding.
        times = np.clip(self._parametrisation.time(np.array(asked)), 0, len(self) - 1)
        self._grid = grid
        self._steps = self._begin = None
        self.num_inference_steps = len(grid) - 1
        kind = torch.int64 if self._parametrisation.discrete else torch.float32
        self._timesteps = torch.tensor(times, device=device, dtype=kind)
        self._sigmas = torch.tensor(grid, device="cpu", dtype=torch.float32)

    def _scheduled(self, n: int) -> Array:
        if self._schedule not in SPACINGS:
            grid = schedule_of(self._schedule, n, *self._sigma_range, True)
            self._require_inside("schedule", grid)
            return grid
        times = spaced(str(self._schedule), n, len(self), self._offset)
        return np.append(self._levels("steps_offset", times), 0.0)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin with a later entry of `timesteps`, with which a step must begin.

        Parameters
        ----------
        begin_index : int
            The number of the entry.
        """
        self._begin = whole("begin_index", begin_index, 0, 2**31)

    def scale_model_input(self, sample: Any, timestep: Any = None) -> Any:
        """Give the sample as it is.

        Parameters
        ----------
        sample : torch.Tensor
        timestep : float, optional

        Returns
        -------
        torch.Tensor
        """
        return sample

    def step(
        self,
        model_output: Any,
        timestep: Any,
        sample: Any,
        generator: Any = None,
        return_dict: bool = True,
        *,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
    ) -> SchedulerStep | tuple[Any]:
        """Go on from one evaluation of the network to the next.

        Parameters
        ----------
        model_output : torch.Tensor
            What the network gave.
        timestep : float or torch.Tensor
            The entry of `timesteps`.
        sample : torch.Tensor
            What the network was given. Where this is not what the step before gave, it takes its
            place.
        generator : torch.Generator or list of them, optional
            For integrators with noise; a list has one for each sample.
        return_dict : bool, default True
            Give a `SchedulerStep`, else a tuple with its first item.
        eta : float, default 0.0
            What pipelines pass on to DDIM; 0 is needed.
        use_clipped_model_output : bool, optional
            As `eta`; it must not be True.

        Returns
        -------
        SchedulerStep or tuple

        Raises
        ------
        ArgumentError
            If `set_timesteps` was not called, the shapes differ, or DDIM is asked for.
        """
        refuse_ddim(eta, use_clipped_model_output)
        if self._grid is None:
            raise ArgumentError("step: set_timesteps must be called before the first step")
        if model_output.shape != sample.shape:
            raise ArgumentError(
                f"model_output: shape {tuple(model_output.shape)} was given for samples of shape "
                f"{tuple(sample.shape)}; a network that gives a variance as well has to be cut"
            )
        if self._steps is None:
            program = self.integrator._program(self._from(timestep))
            self._steps = Steps(program, self._parametrisation, self._rules, sample)
        given = self._steps.answer(model_output, sample, generator)
        if self._steps.finished:
            self._steps = self._begin = None
        return given if return_dict else (given.prev_sample,)

    def _from(self, timestep: Any) -> Array:
        """The grid from the step on that begins with an entry of `timesteps`."""
        assert self._grid is not None
        first = firsts_of(self.integrator, self._grid)
        if self._begin is None:
            distance = (self.timesteps.cpu().double() - float(timestep)).abs().numpy()
            # A level may be met at the end of a step, too.
            step = int(np.argmin(distance[first]))
            at, found = first[step], distance[first[step]] == distance.min()
        else:
            step, at = int(np.searchsorted(first, self._begin)), self._begin
            found = at in first
        grid = self._grid[step:]
        if not found or firsts_of(self.integrator, grid) != [i - at for i in first[step:]]:
            raise ArgumentError(
                f"timestep: number {at} of the timesteps was given first, with which no step "
                f"begins, or none that this integrator can begin with; see `set_begin_index`"
            )
        return grid

    def add_noise(self, original_samples: Any, noise: Any, timesteps: Any) -> Any:
        """Give what the process makes of samples at some times.

        Parameters
        ----------
        original_samples, noise : torch.Tensor
            Data, and normal numbers of their shape.
        timesteps : torch.Tensor, shape (n,)
            Times in the table; between its rows too.

        Returns
        -------
        torch.Tensor

        Raises
        ------
        ArgumentError
            If a time lies beyond the table.
        """
        torch = sys.modules["torch"]
        s = self._levels("timesteps", np.atleast_1d(numbers("timesteps", to_numpy(timesteps))))
        column = (-1,) + (1,) * (original_samples.ndim - 1)
        a = torch.tensor(1.0 / np.hypot(1.0, s)).to(original_samples).reshape(column)
        b = torch.tensor(s / np.hypot(1.0, s)).to(original_samples).reshape(column)
        return a * original_samples + b * noise

    def _levels(self, name: str, times: Array) -> Array:
        """The levels at times of the table."""
        logs = self._parametrisation.log_levels
        assert logs is not None
        return levels_at(name, times, logs)

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    def __repr__(self) -> str:
        return f"<diffusers scheduler by {self.integrator!r}>"
