"""Integrators as schedulers for the pipelines of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, positive, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.arguments import Threshold
from fermiac.score.device_program import Rules
from fermiac.score.diffusers_config import (
    Config,
    arguments_of,
    read_config,
    refuse_ddim,
    write_config,
)
from fermiac.score.diffusers_flow import FlowProcess
from fermiac.score.diffusers_steps import FlowStart, SchedulerStep, Steps, firsts_of
from fermiac.score.diffusers_table import TableProcess, table_of
from fermiac.score.integrator import Integrator
from fermiac.score.methods import FIXED_GRID
from fermiac.targets.torch_modules import import_torch

__all__ = ["DiffusersScheduler", "SchedulerStep"]

Array = NDArray[np.float64]


_PREDICTIONS = {
    "epsilon": "eps",
    "sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "flow",
}


class DiffusersScheduler:
    """Any integrator of fermiac as a scheduler for the pipelines of diffusers.

    It replaces a scheduler of that library, which it does not import. Samples are those of the
    variance-preserving process with the table of β, or of flow models, so that starting noise has
    variance 1 and samples are not scaled. A method with several evaluations in a step has as many
    entries in `timesteps` for it.

    Parameters
    ----------
    integrator : str or Integrator, default "dpmpp_2m"
        The integrator; see `Integrator`.
    num_train_timesteps : int, default 1000
        The number of times in the table.
    beta_start, beta_end : float
        The ends of the table of β, by default 0.0001 and 0.02.
    beta_schedule : {"linear", "scaled_linear", "squaredcos_cap_v2"}, default "linear"
        The spacing between the ends: β or its root is even in time; or the cosine schedule of
        [2]_.
    trained_betas : array_like, optional
        The table itself.
    prediction_type : {"epsilon", "sample", "v_prediction", "flow_prediction"}, default "epsilon"
        The output of the network. The last one is the velocity z - x of a flow model, for samples
        (1 - t) x + t z. These have no table; their times are those of
        ``FlowMatchEulerDiscreteScheduler`` [4]_. The first step, from t = 1, is Euler's, which is
        exact in the limit of pure noise for all integrators without noise.
    rescale_betas_zero_snr : bool, default False
        Whether the table is stretched so that its last time is almost pure noise [3]_, for networks
        that were trained in this way.
    schedule : str or callable, optional
        The schedule of the levels, as for `sample`; ``"karras"`` by default. Or the spacing of
        whole times: ``"linspace"`` over all of the table; ``"leading"`` or ``"trailing"``, every
        (T / n)-th from its lowest or from its highest. Flow models have ``"linspace"`` alone.
    steps_offset : int, default 0
        A number that is added to ``"leading"`` times.
    sigma_range : tuple of float, optional
        The lowest and the highest level, within those of the table, which are the default. Not for
        whole times.
    discrete : bool, default False
        Whether times are rounded to whole numbers, for networks that take no others.
    threshold : float or Threshold, optional
        Clip denoised points to a range, as in `integrate`.
    shift : float, default 1.0
        For flow models: the factor of the levels t / (1 - t), as in `flow_shift`.
    use_dynamic_shifting : bool, default False
        Whether `set_timesteps` takes the logarithm of the shift, ``mu``, from the pipeline.
    time_shift_type : {"exponential", "linear"}, default "exponential"
        Whether ``mu`` is the logarithm of the shift, or the shift.
    shift_terminal : float, optional
        The last time before 0, to which times are stretched.
    base_shift, max_shift, base_image_seq_len, max_image_seq_len : float
        Numbers from which pipelines compute ``mu``.

    Attributes
    ----------
    timesteps : torch.Tensor
        The times of the evaluations; before `set_timesteps`, those of the table.
    sigmas : torch.Tensor
        The levels of the steps, of which the last is 0; at first those of the table. For flow
        models, as in diffusers, the times from 1 to 0.
    init_noise_sigma : float
        1.
    order : int
        The number of evaluations of the network in a step.
    config : dict
        The settings, by key or attribute.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or the integrator adds noise before its first
        evaluation, as `Heun` with `churn` does.

    Notes
    -----
    Noise comes from the generators of torch, as is usual in diffusers, and not from the addressed
    streams of fermiac.

    Most pipelines keep the given scheduler: ``DDPMPipeline``, those of Stable Diffusion and similar
    ones. ``DDIMPipeline`` silently replaces it by one for DDIM: set ``pipe.scheduler`` after the
    construction. The integrator, ``"ancestral"`` for instance, determines the noise, not the
    ``eta`` of a pipeline.

    References
    ----------
    .. [1] J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020,
       arXiv:2006.11239.
    .. [2] A. Nichol, P. Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021,
       arXiv:2102.09672.
    .. [3] S. Lin, B. Liu, J. Li, X. Yang, "Common diffusion noise schedules and sample steps are
       flawed", WACV 2024, arXiv:2305.08891.
    .. [4] P. Esser et al., "Scaling rectified flow transformers for high-resolution image
       synthesis", 2024, arXiv:2403.03206.

    Examples
    --------
    The loop of a pipeline, with a function instead of a network, which predicts the noise for
    standard normal data:

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
        schedule: str | Callable[[int, float, float], ArrayLike] | None = None,
        steps_offset: int = 0,
        sigma_range: tuple[float, float] | None = None,
        discrete: bool = False,
        threshold: float | Threshold | None = None,
        shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        time_shift_type: str = "exponential",
        shift_terminal: float | None = None,
        base_shift: float = 0.5,
        max_shift: float = 1.15,
        base_image_seq_len: float = 256,
        max_image_seq_len: float = 4096,
    ) -> None:
        self.integrator = FIXED_GRID.resolve(integrator)
        if self.integrator._pairs():
            raise ArgumentError(
                f"integrator: {shown(integrator)} was given; cfg_pp needs both denoisers of a "
                "pipeline, which a scheduler does not see; leave it out"
            )
        choice("prediction_type", prediction_type, tuple(_PREDICTIONS))
        if not (schedule is None or isinstance(schedule, str) or callable(schedule)):
            raise ArgumentError(
                f"schedule: {type(schedule).__name__} was given; a name or a function is needed"
            )
        shift = positive("shift", shift)
        if threshold is not None and not isinstance(threshold, Threshold):
            threshold = Threshold(threshold)
        self._rules = Rules(
            None if threshold is None else threshold._spec(), "ignore", self.integrator._langevin()
        )
        self.config = Config(integrator=integrator, prediction_type=prediction_type)
        self._process: FlowProcess | TableProcess
        if prediction_type == "flow_prediction":
            refused = {
                "trained_betas": trained_betas is not None,
                "rescale_betas_zero_snr": rescale_betas_zero_snr is not False,
                "steps_offset": whole("steps_offset", steps_offset, 0, 2**31) != 0,
                "sigma_range": sigma_range is not None,
                "discrete": discrete is not False,
                "schedule": schedule not in (None, "linspace"),
            }
            wrong = [name for name, given in refused.items() if given]
            if wrong:
                raise ArgumentError(
                    f"{wrong[0]}: given with prediction_type='flow_prediction', which has no table "
                    "of β; give other times by set_timesteps(sigmas=...)"
                )
            count = whole("num_train_timesteps", num_train_timesteps, 2, 2**31)
            self._process = FlowProcess(
                count, shift, use_dynamic_shifting, time_shift_type, shift_terminal
            )
            self.config |= {
                "num_train_timesteps": count,
                "shift": shift,
                "use_dynamic_shifting": use_dynamic_shifting,
                "time_shift_type": time_shift_type,
                "shift_terminal": shift_terminal,
                "base_shift": base_shift,
                "max_shift": max_shift,
                "base_image_seq_len": base_image_seq_len,
                "max_image_seq_len": max_image_seq_len,
                "threshold": threshold,
            }
        else:
            if shift != 1.0 or use_dynamic_shifting is not False or shift_terminal is not None:
                raise ArgumentError(
                    f"shift: given with prediction_type={shown(prediction_type)}; it is for flow "
                    "models: give prediction_type='flow_prediction'"
                )
            table = table_of(
                num_train_timesteps,
                beta_start,
                beta_end,
                beta_schedule,
                trained_betas,
                yes("rescale_betas_zero_snr", rescale_betas_zero_snr),
            )
            self._process = TableProcess(
                _PREDICTIONS[prediction_type], table, schedule, steps_offset, sigma_range, discrete
            )
            self.config |= {
                "num_train_timesteps": len(table),
                "beta_start": beta_start,
                "beta_end": beta_end,
                "beta_schedule": beta_schedule,
                "trained_betas": trained_betas,
                "rescale_betas_zero_snr": rescale_betas_zero_snr,
                "schedule": self._process.schedule,
                "sigma_range": sigma_range,
                "discrete": discrete,
                "threshold": threshold,
            }
            if schedule == "leading":
                # For other schedules it has no meaning, and pipelines warn of unexpected values.
                self.config["steps_offset"] = steps_offset
        self._parametrisation = self._process.parametrisation
        grid = np.array([4.0, 2.0, 1.0, 0.0])
        first = self.integrator._program(grid).ops[0]
        if first[:2] != ("denoise", 0):
            raise ArgumentError(
                f"integrator: {shown(integrator)} adds noise before it asks the network for "
                "anything, which a pipeline does not know of; use Heun without churn, or another "
                "integrator"
            )
        self.order = self.integrator.n_evals(2) - self.integrator.n_evals(1)
        self.num_inference_steps: int | None = None
        self._timesteps: Any = None
        self._sigmas: Any = None
        self._grid: Array | None = None
        self._steps: Steps | FlowStart | None = None
        self._begin: int | None = None

    # Made on first use, so that making a scheduler does not import torch.

    @property
    def timesteps(self) -> Any:
        """The times of the evaluations; before `set_timesteps`, those of the table."""
        if self._timesteps is None:
            return import_torch().arange(len(self) - 1, -1, -1)
        return self._timesteps

    @property
    def sigmas(self) -> Any:
        """The levels of the steps, of which the last is 0; at first those of the table."""
        if self._sigmas is None:
            torch = import_torch()
            return torch.tensor(self._process.sigmas(), dtype=torch.float32)
        return self._sigmas

    @classmethod
    def from_config(cls, config: Any, **more: Any) -> DiffusersScheduler:
        """Make a scheduler for the table and the prediction of another scheduler.

        Parameters
        ----------
        config : dict
            Its ``config``. The table, the prediction, the range of samples (``clip_sample``,
            ``thresholding``) and the spacing of levels or times (``use_karras_sigmas``,
            ``use_exponential_sigmas``, else ``timestep_spacing``) are taken; of a
            `DiffusersScheduler`, everything. Settings of its own method are left out, and the last
            step goes to level 0.
        **more
            Arguments that are not in `config`, or override it.

        Returns
        -------
        DiffusersScheduler

        Raises
        ------
        ArgumentError
            If `config` has an unknown setting that changes samples, for instance the inverted times
            of some flow models, unless an argument replaces the setting.

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
        mu: float | None = None,
    ) -> None:
        """Choose the levels of the steps.

        Parameters
        ----------
        num_inference_steps : int, optional
            The number of steps, including the one to level 0.
        device : torch.device or str, optional
            The device of `timesteps`.
        sigmas : array_like, optional
            The levels themselves, strictly decreasing; a last 0 may be left out.
            For flow models, as in diffusers, times from 1 to 0 before the shift; or a `FlowTimes`
            record, which is taken as it is.
        timesteps : array_like, optional
            The times of the levels in the table.
        mu : float, optional
            The logarithm of the shift, with ``use_dynamic_shifting``.

        Raises
        ------
        ArgumentError
            If none or several of the three are given, or the levels do not decrease or are not
            within the table.
        """
        torch = import_torch()
        if sum(given is not None for given in (num_inference_steps, sigmas, timesteps)) != 1:
            raise ArgumentError(
                "set_timesteps: one of num_inference_steps, sigmas and timesteps is needed"
            )
        plan = self._process.plan(self.integrator, num_inference_steps, sigmas, timesteps, mu)
        self._grid, self._steps, self._begin = plan.grid, None, None
        self.num_inference_steps = len(plan.grid) - 1
        kind = torch.int64 if self._parametrisation.discrete else torch.float32
        self._timesteps = torch.tensor(plan.times, device=device, dtype=kind)
        self._sigmas = torch.tensor(plan.sigmas, device="cpu", dtype=torch.float32)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin with a later entry of `timesteps`, which must be the beginning of a step.

        Parameters
        ----------
        begin_index : int
            The number of the entry.
        """
        self._begin = whole("begin_index", begin_index, 0, 2**31)

    def scale_model_input(self, sample: Any, timestep: Any = None) -> Any:
        """Return the sample unchanged.

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
        """Advance from one evaluation of the network to the next.

        Parameters
        ----------
        model_output : torch.Tensor
            The output of the network.
        timestep : float or torch.Tensor
            The entry of `timesteps`.
        sample : torch.Tensor
            The input of the network. A sample other than the result of the step before replaces it.
        generator : torch.Generator or list of them, optional
            The source of the noise; a list has a generator for each sample.
        return_dict : bool, default True
            Return a `SchedulerStep`, or else a tuple with its first item.
        eta : float, default 0.0
            The argument of pipelines for DDIM; 0 is needed.
        use_clipped_model_output : bool, optional
            Like `eta`; it must not be True.

        Returns
        -------
        SchedulerStep or tuple

        Raises
        ------
        ArgumentError
            If `set_timesteps` was not called, the shapes differ, or an argument requests DDIM.
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
            self._steps = self._begun(self._from(timestep), sample)
        given = self._steps.answer(model_output, sample, generator)
        if isinstance(self._steps, FlowStart) and self._steps.then is not None:
            self._steps = self._steps.then
        elif self._steps.finished:
            self._steps = self._begin = None
        return given if return_dict else (given.prev_sample,)

    def _begun(self, grid: Array, sample: Any) -> Steps | FlowStart:
        """Return the steps on a grid, of which the first level may be infinite."""

        def steps(x: Any) -> Steps:
            program = self.integrator._program(grid[1:] if grid[0] == np.inf else grid)
            return Steps(program, self._parametrisation, self._rules, x)

        return FlowStart(float(grid[1]), steps, self._rules) if grid[0] == np.inf else steps(sample)

    def _firsts(self, grid: Array) -> list[int]:
        """Return the numbers of the evaluations with which steps begin."""
        if grid[0] < np.inf:
            return firsts_of(self.integrator, grid)
        return [0, *(1 + i for i in firsts_of(self.integrator, grid[1:]))] if grid[1] else [0]

    def _from(self, timestep: Any) -> Array:
        """Return the grid from the step that begins with an entry of `timesteps`."""
        assert self._grid is not None
        first = self._firsts(self._grid)
        if self._begin is None:
            distance = (self.timesteps.cpu().double() - float(timestep)).abs().numpy()
            # A level may also be evaluated at the end of a step.
            step = int(np.argmin(distance[first]))
            at, found = first[step], distance[first[step]] == distance.min()
        else:
            step, at = int(np.searchsorted(first, self._begin)), self._begin
            found = at in first
        grid = self._grid[step:]
        if not found or self._firsts(grid) != [i - at for i in first[step:]]:
            raise ArgumentError(
                f"timestep: number {at} of the timesteps was given first, with which no step "
                f"begins, or none that this integrator can begin with; see `set_begin_index`"
            )
        return grid

    def add_noise(self, original_samples: Any, noise: Any, timesteps: Any) -> Any:
        """Return samples with the noise of the process at some times.

        Parameters
        ----------
        original_samples, noise : torch.Tensor
            Data, and normal numbers of their shape.
        timesteps : torch.Tensor, shape (n,)
            Times in the table, also between its rows.

        Returns
        -------
        torch.Tensor

        Raises
        ------
        ArgumentError
            If a time lies beyond the table.
        """
        torch = import_torch()
        for name, value in (("original_samples", original_samples), ("noise", noise)):
            if not isinstance(value, torch.Tensor):
                raise ArgumentError(f"{name}: {type(value).__name__} given; a tensor is needed")
        given = np.atleast_1d(numbers("timesteps", to_numpy(timesteps)))
        return self._process.noised(original_samples, noise, given)

    def scale_noise(self, sample: Any, timestep: Any, noise: Any) -> Any:
        """Return samples with noise, as `add_noise`; pipelines of flow models call it.

        Parameters
        ----------
        sample : torch.Tensor
            Data.
        timestep : torch.Tensor, shape (n,)
            Times.
        noise : torch.Tensor
            Normal numbers of the shape of the data.

        Returns
        -------
        torch.Tensor
        """
        return self.add_noise(sample, noise, timestep)

    def save_pretrained(self, save_directory: str | PathLike[str], **_: Any) -> None:
        """Write the settings to ``scheduler_config.json`` in a folder.

        Parameters
        ----------
        save_directory : path
            The folder, which is made if needed.

        Raises
        ------
        ArgumentError
            If the schedule is a function.
        """
        write_config(save_directory, self.config)

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], subfolder: str = "", **more: Any
    ) -> DiffusersScheduler:
        """Read the settings of a scheduler, of this class or of diffusers, from a folder.

        Parameters
        ----------
        path : path
            A folder with ``scheduler_config.json``, or the folder of a saved pipeline.
        subfolder : str, optional
            The folder in it, ``"scheduler"`` for a pipeline.
        **more
            Arguments that override the settings.

        Returns
        -------
        DiffusersScheduler

        Raises
        ------
        ArgumentError
            If there is no such file, or a setting in it is not known.
        """
        return cls.from_config(read_config(path, subfolder), **more)

    def _level_of(self, time: float) -> float:
        """Return the level at a time, as given to the network."""
        return float(self._process.levels("timestep", np.array([time]))[0])

    def __len__(self) -> int:
        return len(self._process)

    def __repr__(self) -> str:
        return f"<diffusers scheduler by {self.integrator!r}>"
