"""Masked diffusion, sampled event by event by first hitting times."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.ask import ask, real_answer
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.strategies import Strategies
from fermiac._base.tensors import is_tensor
from fermiac._base.validate import RngLike, key_of, real, shown, taken, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import Finding, Result
from fermiac.score.masked_parts import OF_CALL, WHOLE, joined, missing, sequences_in_parts
from fermiac.score.noise import CHOICE
from fermiac.score.split import Split
from fermiac.targets.factories import made_of

__all__ = ["TOGETHER", "Job", "Unmasked", "first_hitting", "started"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
TOGETHER = (
    "tokens of one call are drawn independently of each other, given those before; with one token "
    "in each call they are not"
)
#: Uniform numbers of a token: its time, its position, its value.
_PER_TOKEN = 3


def _cosine(masked: Array) -> Array:
    return 1.0 - (2.0 / math.pi) * np.arccos(np.clip(masked, 0.0, 1.0))


_SCHEDULES: Strategies[Any] = Strategies(
    "schedule",
    Callable,  # type: ignore[arg-type]  # any function of masked levels
    {"linear": lambda: lambda m: m, "cosine": lambda: _cosine},
    "a function of masked levels",
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Unmasked(Result):
    """Sequences of tokens, and the times at which they appeared.

    Attributes
    ----------
    tokens : ndarray of int, shape (n, length)
        The sequences; for an interrupted run, missing tokens are masks.
    times : ndarray, shape (n, length)
        The times of the tokens, from 1 down to 0; NaN for tokens that were given or are missing.
    mask : int
        The token of a mask.
    n_calls : int
        The number of calls of the model.
    bias : tuple of str
        The reasons why the sequences do not have the law of the model.

    Examples
    --------
    `first_hitting` returns such results:

    >>> import numpy as np, fermiac as fm
    >>> def logits(tokens, time):
    ...     return np.zeros((*tokens.shape, 2))
    >>> s = fm.score.first_hitting(logits, 3, 4, n_tokens=2, rng=0)
    >>> s.tokens.shape, s.mask, s.n_calls
    ((3, 4), 2, 4)
    >>> bool(((s.times > 0) & (s.times < 1)).all())
    True
    """

    tokens: Ints
    times: Array
    mask: int
    n_calls: int
    bias: tuple[str, ...] = ()

    _layout: ClassVar[fit.Layout] = {
        "tokens": fit.array("i", "n", "length", low=0),
        "times": fit.array("f", "n", "length"),
        "mask": fit.whole(),
        "n_calls": fit.whole(0),
        "bias": fit.texts,
    }

    @public
    def merge(self, *others: Unmasked) -> Unmasked:
        """Join parts of one call.

        Parameters
        ----------
        *others : Unmasked
            Other parts of the same call, from ``part=``.

        Returns
        -------
        Unmasked
            All sequences, in the order of the call.

        Raises
        ------
        ArgumentError
            If parts are of different calls, or contain the same sequences.
        """
        for other in others:
            if not isinstance(other, Unmasked):
                raise ArgumentError(f"merge: {shown(other)} given; parts of one call are needed")
        return joined([self, *others])

    def _missing(self) -> list[Finding]:
        return missing(self)

    def _headline(self) -> str:
        n, length = self.tokens.shape
        told = ", biased: see `bias`" if self.bias else ""
        return f"{n} sequences of {length} tokens, {self.n_calls} calls of the model{told}"


@public
def first_hitting(
    logits: Callable[..., Any],
    n: int,
    length: int,
    *,
    n_tokens: int,
    n_steps: int | None = None,
    temperature: float = 1.0,
    schedule: Literal["linear", "cosine"] | Callable[[Array], ArrayLike] = "linear",
    tokens: ArrayLike | None = None,
    mask: int | None = None,
    at_positions: bool = False,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Unmasked:
    r"""Draw sequences from a masked diffusion model, one token per call and without time steps.

    All tokens start masked. The masked level m is the probability of a mask, 1 at the start and 0
    at the end. If k tokens are masked at the level m, the next token appears at the level
    :math:`m\,u^{1/k}` with a uniform u, at a uniformly drawn masked position. It is drawn from the
    categorical law of the model there. This is the exact law of the reverse process in continuous
    time. It needs no grid of times, and no calls in which nothing happens [1]_.

    Parameters
    ----------
    logits : callable
        The model: a function of tokens, (n, length), with `mask` for masked ones, and the time of
        each sequence, (n,). It returns logits (n, length, n_tokens), an array or a tensor. With
        ``at_positions`` it also takes the positions to be drawn, (n, g), and returns (n, g,
        n_tokens).
    n : int
        The number of sequences; each call of the model has all of them.
    length : int
        The number of tokens of a sequence.
    n_tokens : int
        The number of different tokens, which are 0 to n_tokens - 1.
    n_steps : int, optional
        The number of calls of the model, over which the tokens are spread evenly; by default one
        for each token. With fewer, the tokens of a call are drawn independently, given the tokens
        before, and the sequences are biased.
    temperature : float, default 1.0
        A divisor of the logits. At 0 the most likely token is taken.
    schedule : {"linear", "cosine"} or callable, default "linear"
        The time t of the model at a masked level m: m; or 1 - (2/π) arccos(m), for which m =
        sin(πt/2); or a function of levels (n,). The result has the same times. Models without time
        may ignore it.
    tokens : array_like of int, shape (length,) or (n, length), optional
        The initial sequences: given tokens, and `mask` for those to be drawn.
    mask : int, optional
        The token of a mask; by default `n_tokens`.
    at_positions : bool, default False
        Request logits only at the positions to be drawn, which saves memory.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself. The draws of a sequence do not depend on
        `n`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n) draws the sequences of part i of n, counted from 0, for
        independent jobs. `fermiac.merge` joins them. ``store``: a folder to which each process
        writes its finished blocks. The same call resumes from them, and its parts can share the
        folder. It needs `rng`.

    Returns
    -------
    Unmasked
        ``tokens`` and ``times``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    TargetError
        If the model returns a wrong shape, NaN, +inf, or no possible token.
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `Unmasked` with the tokens so far.

    Notes
    -----
    Tokens are drawn in double precision, by inversion of the cumulative probabilities. The usual
    Gumbel noise -log(-log u) in single precision never exceeds
    :math:`-\log(-\log(1 - 2^{-24})) = 16.6355`, because u has 24 bits (in double precision
    36.737). Unlikely tokens then almost never win. Sequences are less diverse than under the model,
    as with a lower temperature, and the effect grows with the number of tokens [1]_.

    References
    ----------
    .. [1] K. Zheng, Y. Chen, H. Mao, M.-Y. Liu, J. Zhu, Q. Zhang, "Masked diffusion models are
       secretly time-agnostic masked models and exploit inaccurate categorical sampling", 2024,
       arXiv:2409.02908.

    Examples
    --------
    Independent tokens; the second one is twice as likely as the first:

    >>> import numpy as np, fermiac as fm
    >>> def logits(tokens, time):
    ...     return np.broadcast_to(np.log([1.0, 2.0]), (*tokens.shape, 2))
    >>> s = fm.score.first_hitting(logits, 1000, 6, n_tokens=2, rng=0)
    >>> s.tokens.shape, s.n_calls, bool(abs(s.tokens.mean() - 2 / 3) < 0.05)
    ((1000, 6), 6, True)
    """
    where = plan_of(plan, "executor", "store", "part")
    if where.executor is not None or where.part is not None or where.store is not None:
        settings = {name: value for name, value in locals().items() if name not in OF_CALL}
        split = Split(where, rng)
        n = whole("n", n, 0, 2**40)
        return sequences_in_parts(first_hitting, logits, n, tokens, settings, split)
    start = time.perf_counter()
    logits = made_of(logits)
    n, length = whole("n", n, 0, 2**40), whole("length", length, 1, 2**31 - 1)
    n_tokens = whole("n_tokens", n_tokens, 1, 2**31 - 1)
    none = n_tokens if mask is None else whole("mask", mask, -(2**31), 2**31 - 1)
    state = started(tokens, n, length, n_tokens, none)
    if not callable(logits):
        raise ArgumentError(f"logits: {shown(logits)} was given; a callable is needed")
    heat = real("temperature", temperature, "0 or more is needed", lambda t: 0 <= t < math.inf)
    times = _SCHEDULES.resolve(schedule)
    first_row, most = WHOLE.get()
    most = int(state.n_masked.max(initial=0)) if most is None else most
    calls = most if n_steps is None else min(whole("n_steps", n_steps, 1, 2**31 - 1), most)
    job = Job(
        logits=logits,
        n_tokens=n_tokens,
        temperature=heat,
        schedule=times,
        at_positions=yes("at_positions", at_positions),
        key=key_of(rng),
        n_threads=resolve_threads(where.n_threads),
        first=first_row,
    )
    settings = {
        "n_steps": calls,
        "temperature": job.temperature,
        "schedule": schedule if isinstance(schedule, str) else "callable",
    }

    def result(done: int, status: str) -> Unmasked:
        return Unmasked(
            seed=job.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=done * n,
            wall_time=time.perf_counter() - start,
            status=status,
            tokens=state.tokens.copy(),
            times=state.times.copy(),
            mask=none,
            n_calls=done,
            bias=(TOGETHER,) if calls < most else (),
        )

    done = 0
    with reporter(where.progress, "first_hitting", "calls") as report:
        try:
            while done < calls:
                # Tokens are spread evenly over the calls.
                job.call(state, most * done // calls, most * (done + 1) // calls)
                done += 1
                if report is not None and done < calls:
                    report(done, calls)
        except KeyboardInterrupt as stop:
            stop.partial_result = result(done, "interrupted")  # type: ignore[attr-defined]
            raise
        made = result(calls, "complete")
        finish(report, calls, made)
    return made


@dataclass
class _State:
    """The sequences: tokens, times, and the masked positions, which come first in a row."""

    tokens: Ints
    times: Array
    masked: Ints
    n_masked: Ints
    levels: Array


def started(given: ArrayLike | None, n: int, length: int, n_tokens: int, mask: int) -> _State:
    """Return the checked sequences at the start."""
    if 0 <= mask < n_tokens:
        raise ArgumentError(
            f"mask: {mask} was given, one of the tokens 0 to {n_tokens - 1}; give another number"
        )
    tokens = np.full((n, length), mask, dtype=np.int64)
    if given is not None:
        array = taken("tokens", given)
        if array.dtype.kind not in "iu" or array.shape not in ((length,), (n, length)):
            raise ArgumentError(
                f"tokens: {array.dtype} of shape {array.shape} was given; whole numbers of shape "
                f"({length},) or ({n}, {length}) are needed"
            )
        tokens[:] = array
        bad = (tokens != mask) & ((tokens < 0) | (tokens >= n_tokens))
        if bad.any():
            raise ArgumentError(
                f"tokens: {tokens[bad][0]} was given; 0 to {n_tokens - 1}, or {mask} for a mask, "
                "is needed"
            )
    open_ = tokens == mask
    return _State(
        tokens=tokens,
        times=np.full((n, length), np.nan),
        masked=np.argsort(~open_, axis=1, kind="stable"),
        n_masked=open_.sum(axis=1),
        levels=np.ones(n),
    )


@dataclass(frozen=True, kw_only=True)
class Job:
    """The model and the settings of a call."""

    logits: Callable[..., Any]
    n_tokens: int
    temperature: float
    schedule: Callable[[Array], ArrayLike]
    at_positions: bool
    key: int
    n_threads: int
    #: The number of the first sequence.
    first: int

    def call(self, state: _State, first: int, last: int) -> None:
        """Draw tokens number `first` to `last - 1` of every sequence from one call."""
        n, group = len(state.tokens), last - first
        noise = np.stack(
            [
                _core.score_noise(self.key, CHOICE, self.first, n, draw, 0, _PER_TOKEN)[1]
                for draw in range(first, last)
            ]
        )
        left, levels, masked = state.n_masked.copy(), state.levels.copy(), state.masked.copy()
        positions = np.empty((n, group), dtype=np.int64)
        appeared, alive = np.empty((n, group)), np.empty((n, group), dtype=bool)
        rows = np.arange(n)
        for j, (when, where, _) in enumerate(noise.transpose(0, 2, 1)):
            alive[:, j] = left > 0
            k = np.maximum(left, 1)
            levels = np.where(alive[:, j], levels * when ** (1.0 / k), levels)
            at = np.minimum((where * k).astype(np.int64), k - 1)
            positions[:, j], appeared[:, j] = masked[rows, at], levels
            # The last masked position takes the place of the one that is drawn.
            masked[rows, at] = masked[rows, k - 1]
            left = left - alive[:, j]
        used, slots = np.nonzero(alive)
        # All tokens of a group are drawn at the time of the first.
        time = self._times(appeared[:, 0])
        values = self.asked(state.tokens, time, positions)
        uniforms = np.ascontiguousarray(noise[slots, used, 2])
        chosen = self.drawn(values, used, slots, positions, uniforms)
        at = positions[used, slots]
        state.tokens[used, at] = chosen
        state.times[used, at] = self._times(appeared[used, slots])
        state.n_masked, state.levels, state.masked = left, levels, masked

    def _times(self, levels: Array) -> Array:
        given = ask(self.schedule, (levels,), "schedule")
        return real_answer(given, "schedule", levels.shape, finite=True)

    def asked(self, tokens: Ints, time: Array, positions: Ints) -> Any:
        """Return the checked logits of sequences."""
        n, length = tokens.shape
        arguments = (tokens, time, positions)[: 2 + self.at_positions]
        got = _real(ask(self.logits, arguments, "the logits", f"of {n} sequences"))
        needed = (n, positions.shape[1] if self.at_positions else length, self.n_tokens)
        if tuple(got.shape) != needed:
            raise TargetError(
                f"logits: shape {tuple(got.shape)} came back; {needed} is needed: sequences, "
                "positions, tokens without the mask"
            )
        return got

    def drawn(self, values: Any, rows: Ints, slots: Ints, positions: Ints, uniforms: Array) -> Any:
        """Return tokens for pairs of rows and positions."""
        at = slots if self.at_positions else positions[rows, slots]
        if is_tensor(values):
            if values.device.type != "cpu":
                return _drawn_on_device(values, rows, at, self.temperature, uniforms)
            values = values.detach()
            values = (values if values.dtype.itemsize == 4 else values.double()).numpy()
        picked = values[rows, at]
        if picked.dtype not in (np.float32, np.float64):
            picked = picked.astype(np.float64)
        return _core.score_choose_tokens(
            np.ascontiguousarray(picked), self.temperature, uniforms, self.n_threads
        )


def _real(got: Any) -> Any:
    """Return logits as a tensor or an array of real numbers."""
    if is_tensor(got):
        if not got.is_complex():
            return got
    else:
        try:
            array = np.asarray(got)
            if array.dtype.kind not in "cSUMm":
                return array.astype(np.float64) if array.dtype.kind == "O" else array
        except (TypeError, ValueError):
            pass
    kind = getattr(got, "dtype", type(got).__name__)
    raise TargetError(f"logits: {kind} came back; an array or a tensor of real numbers is needed")


def _drawn_on_device(values: Any, rows: Ints, at: Ints, temperature: float, uniforms: Array) -> Any:
    """Return tokens drawn on the device of the logits, so that only tokens leave it."""
    from fermiac.targets.torch_target import import_torch

    torch = import_torch()
    index = [torch.as_tensor(a, device=values.device) for a in (rows, at)]
    picked = values.detach()[index[0], index[1]].double()
    top = picked.amax(dim=1, keepdim=True)
    bad = ~torch.isfinite(top[:, 0]) | torch.isnan(picked).any(dim=1)
    if bool(bad.any()):
        raise TargetError(
            f"logits: those of row {rows[int(bad.nonzero()[0, 0])]} hold a NaN, +inf, or -inf for "
            "every token"
        )
    if temperature == 0:
        return picked.argmax(dim=1).cpu().numpy()
    reached = torch.cumsum(torch.exp((picked - top) / temperature), dim=1)
    level = torch.as_tensor(uniforms, device=values.device) * reached[:, -1]
    found = torch.searchsorted(reached, level[:, None], right=True)[:, 0]
    return found.clamp(max=values.shape[-1] - 1).cpu().numpy()
