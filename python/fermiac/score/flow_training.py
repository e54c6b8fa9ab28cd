"""Training of flows between two laws by flow matching, and straighter ones by reflow."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.validate import RngLike, numbers, shown, whole
from fermiac.errors import ArgumentError
from fermiac.score import fitting
from fermiac.score.flows import transport
from fermiac.score.interpolants import FlowModel, Interpolant
from fermiac.score.mlp import score_mlp
from fermiac.score.model import rows_of
from fermiac.score.noise import START
from fermiac.score.training_checkpoint import identity_of, opened
from fermiac.targets.torch_modules import import_torch

__all__ = ["TrainedFlow", "reflow", "train_flow"]

Array = NDArray[np.float64]


class TrainedFlow(FlowModel):
    """A flow whose velocity is a trained network, made by `train_flow`.

    Attributes
    ----------
    module : torch.nn.Module
        The network, of scaled points and times.
    losses : ndarray, shape (n_steps,)
        The losses of the training, mean square errors relative to the variance of the data.

    References
    ----------
    .. [1] Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le, "Flow matching for generative
       modeling", ICLR, 2023, arXiv:2210.02747.

    Examples
    --------
    >>> import fermiac as fm
    >>> issubclass(fm.score.TrainedFlow, fm.score.FlowModel)
    True
    """

    def __init__(
        self, module: Any, centre: Array, scale: float, path: Interpolant, from_normal: bool
    ) -> None:
        super().__init__(
            self._evaluated, interpolant=path, from_normal=from_normal, dim=len(centre)
        )
        self.module, self._centre, self._scale = module, centre, scale
        self.losses = np.empty(0)

    def _evaluated(self, x: Array, t: Array) -> Array:
        torch = import_torch()
        own = next(self.module.parameters())
        with fitting.evaluated(self.module):
            points = torch.as_tensor((x - self._centre) / self._scale).to(own)
            given = self.module(points, torch.as_tensor(t).to(own))
        return np.asarray(given.double().numpy(force=True) * self._scale)


@public
def train_flow(
    data0: ArrayLike | None,
    data1: ArrayLike,
    *,
    coupling: Literal["independent", "ot"] | ArrayLike = "independent",
    interpolant: Interpolant | None = None,
    module: Any = None,
    width: int = 128,
    n_blocks: int = 3,
    n_steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    ema: float = 0.999,
    device: Any = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> TrainedFlow:
    r"""Train a flow from one law to another by conditional flow matching.

    Parameters
    ----------
    data0 : array_like of shape (n0, d), or None
        Points of the law at time 0; None for standard normal noise, whose flow has a score too.
    data1 : array_like, shape (n1, d)
        Points of the law at time 1.
    coupling : {"independent", "ot"} or array_like of int, default "independent"
        The pairing of points: independent [1]_; by optimal transport within each batch [2]_, which
        makes straighter paths; or row ``coupling[i]`` of `data0` with row i of `data1`.
    interpolant : Interpolant, optional
        The path, without latent noise.
    module : torch.nn.Module, optional
        A network of points (n, d), scaled to variance 1, and times (n,), instead of a residual
        perceptron.
    width, n_blocks : int, default 128 and 3
        The size of the perceptron.
    n_steps : int, default 2000
        The number of steps of Adam.
    batch_size : int, default 256
        The number of pairs in a step.
    learning_rate, ema : float
        As in `train_score`; here a number.
    device : torch.device or str, optional
        The device of the training.
    rng : int, SeedSequence, Generator or None
        The seed.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``store``); see `fermiac.Plan`. ``store``: a
        folder for the state of the training, from which the same call resumes, with the same bits.
        Nothing is written within a step, so Ctrl-C may lose the steps since the last write.

    Returns
    -------
    TrainedFlow

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or a shape does not fit.
    ImportError
        If torch is not installed.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is the flow so far.

    References
    ----------
    .. [1] Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le, "Flow matching for generative
       modeling", ICLR, 2023, arXiv:2210.02747.
    .. [2] A. Tong et al., "Improving and generalizing flow-based generative models with minibatch
       optimal transport", 2024, arXiv:2302.00482.

    Examples
    --------
    >>> import fermiac as fm
    >>> data = fm.score.Gaussian([3.0], 0.25).sample(2000, rng=0)
    >>> flow = fm.score.train_flow(
    ...     None, data, n_steps=300, width=32, rng=0
    ... )  # doctest: +SKIP
    >>> x = fm.score.transport(flow, fm.random.Stream(0).normal((500, 1)))  # doctest: +SKIP
    """
    where = plan_of(plan, "store")
    last = rows_of("data1", data1, None)
    d = last.shape[1]
    first = None if data0 is None else rows_of("data0", data0, d)
    if len(last) < 2 or (first is not None and len(first) < 2):
        raise ArgumentError("data1: two rows or more are needed of each law")
    path: Any = Interpolant() if interpolant is None else interpolant
    if not isinstance(path, Interpolant) or path.latent is not None:
        raise ArgumentError(
            f"interpolant: {shown(interpolant)} was given; an Interpolant without latent noise is "
            "needed"
        )
    pairs = _pairs(coupling, first, last)
    import_torch()
    pooled = last if first is None else np.concatenate([first, last])
    centre, scale = fitting.spread(pooled)
    kept, key = opened(where, rng)
    plan = fitting.Plan.of(n_steps, batch_size, learning_rate, ema, key)
    if module is None:
        width, n_blocks = whole("width", width, 1, 2**16), whole("n_blocks", n_blocks, 0, 1000)
        with fitting.seeded(key, import_torch().device("cpu")):
            module = score_mlp(np.zeros(d), 1.0, width, n_blocks)
    place = fitting.placed(module, device)
    flow = TrainedFlow(module, centre, scale, path, first is None)
    own = next(module.parameters())

    def loss_of(step: int) -> Any:
        start, end, t = _batch(key, step, plan.batch_size, first, last, pairs)
        alpha, beta, _ = path.factors(t)
        da, db, _ = path.slopes(t)
        x = alpha[:, None] * start + beta[:, None] * end
        target = (da[:, None] * start + db[:, None] * end) / scale
        tensor = import_torch().as_tensor
        given = module(tensor((x - centre) / scale).to(own), tensor(t).to(own))
        return (given - tensor(target).to(own)).square().mean()

    settings = {
        "coupling": coupling if isinstance(coupling, str) else "rows", "path": repr(path),
        "n_steps": plan.n_steps, "batch_size": plan.batch_size, "ema": plan.ema,
        "learning_rate": plan.learning_rate,
    }  # fmt: skip
    if kept is not None:
        kept.begin(identity_of("train_flow", key, pooled, module, settings))
    with fitting.seeded(key, place):
        stopped = fitting.fit(module, loss_of, plan, where.progress, "training of a flow", kept)
    flow.losses = np.array(plan.losses)
    if stopped is not None:
        stopped.partial_result = flow  # type: ignore[attr-defined]
        raise stopped
    return flow


def _pairs(coupling: Any, first: Array | None, last: Array) -> Any:
    """Return the coupling: None, "ot", or the rows of the first data."""
    if isinstance(coupling, str):
        if coupling not in ("independent", "ot"):
            raise ArgumentError(
                f"coupling: {coupling!r} was given; 'independent', 'ot' or rows of data0 are needed"
            )
        return "ot" if coupling == "ot" else None
    rows = numbers("coupling", coupling)
    n = 0 if first is None else len(first)
    whole_rows = rows.astype(np.int64) if np.isfinite(rows).all() else np.full(rows.shape, -1)
    good = rows.shape == (len(last),) and (whole_rows == rows).all()
    if not good or (whole_rows < 0).any() or (whole_rows >= n).any():
        raise ArgumentError(
            f"coupling: {shown(coupling)} was given; for each of the {len(last)} rows of data1 one "
            f"of the {n} rows of data0 is needed"
        )
    return whole_rows


def _batch(
    key: int, step: int, n: int, first: Array | None, last: Array, pairs: Any
) -> tuple[Array, Array, Array]:
    """Return pairs of points and their times, which exclude both ends."""
    normals, strata, rows = fitting.batch_of(key, step, n, last.shape[1], len(last))
    end = last[rows]
    if first is None:
        start = normals
    elif isinstance(pairs, np.ndarray):
        start = first[pairs[rows]]
    else:
        u = _core.score_noise(key, START, 0, n, step, 0, 1)[1][:, 0]
        start = first[np.minimum((u * len(first)).astype(np.int64), len(first) - 1)]
    if isinstance(pairs, str):
        far = np.square(start).sum(axis=1)[:, None] - 2 * start @ end.T
        order = linear_sum_assignment(far)[1]
        end = end[order]
    return start, end, np.clip(strata, 1e-6, 1 - 1e-6)


@public
def reflow(model: FlowModel, x0: ArrayLike, n_transport: int = 50, **options: Any) -> TrainedFlow:
    """Train a straighter flow on the pairs that a flow makes.

    Parameters
    ----------
    model : FlowModel
        The flow, of any kind.
    x0 : array_like, shape (n, d)
        Points of the first law of the flow.
    n_transport : int, default 50
        The number of steps with which the flow transports them.
    **options
        Arguments of `train_flow`, except the data and the coupling.

    Returns
    -------
    TrainedFlow
        A flow with the same ends, whose paths are straighter: it needs fewer steps.

    Raises
    ------
    ArgumentError, ImportError, KeyboardInterrupt
        As for `train_flow`.

    References
    ----------
    .. [1] X. Liu, C. Gong, Q. Liu, "Flow straight and fast: learning to generate and transfer data
       with rectified flow", ICLR, 2023, arXiv:2209.03003.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.score.GaussianMixture([0.5, 0.5], [[-2.0], [2.0]], 0.1)
    >>> flow = fm.score.ExactInterpolant(fm.score.Gaussian([0.0], 1.0), law)
    >>> x0 = fm.random.Stream(0).normal((2000, 1))
    >>> straight = fm.score.reflow(flow, x0, n_steps=300, rng=0)  # doctest: +SKIP
    """
    start = rows_of("x0", x0, None)
    for name in ("data0", "data1", "coupling"):
        if name in options:
            raise ArgumentError(f"{name}: reflow makes it from the flow; leave it out")
    end = transport(model, start, n_transport)
    return train_flow(start, end, coupling=np.arange(len(start)), **options)
