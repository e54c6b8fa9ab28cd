"""Masked diffusion in few calls: orders by confidence, blocks, bounds of entropy, remasking."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.tensors import is_tensor
from fermiac._base.validate import RngLike, choice, key_of, probability, real, shown, whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.masked import TOGETHER, Job, Unmasked, started
from fermiac.score.masked_parts import OF_CALL, WHOLE, sequences_in_parts
from fermiac.score.noise import CHOICE
from fermiac.score.split import Split
from fermiac.targets.factories import made_of

__all__ = ["unmask"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
OrderName = Literal["random", "confidence", "margin", "entropy", "largest"]

#: The most logits whose probabilities are held at once.
_AT_ONCE = 1 << 20
_BY_DRAWS = (
    "the order by the probabilities of the drawn tokens prefers likely tokens; 'margin', 'entropy' "
    "and 'largest' depend on the laws of the tokens alone"
)
_AGAIN = "tokens are masked again at random, but drawn in an order that depends on the others"


@public
def unmask(
    logits: Callable[[Ints, Array], Any],
    n: int,
    length: int,
    n_tokens: int,
    *,
    order: OrderName = "random",
    n_steps: int | None = None,
    entropy_bound: float | None = None,
    temperature: float = 1.0,
    block: int | None = None,
    remask: float = 0.0,
    tokens: ArrayLike | None = None,
    mask: int | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Unmasked:
    r"""Draw sequences from a masked diffusion model in few calls, in any order of the tokens.

    All tokens start masked. Each call of the model gives the law of every masked token, given those
    that are there. Some positions are chosen, and their tokens are drawn independently.

    Parameters
    ----------
    logits : callable
        The model: a function of tokens, (n, length), with `mask` for masked ones, and of the share
        of masked ones of each sequence, (n,). It returns logits (n, length, n_tokens), an array or
        a tensor.
    n, length : int
        The number of sequences, and that of the tokens of each.
    n_tokens : int
        The number of different tokens, which are 0 to n_tokens - 1.
    order : str, default "random"
        The masked positions that are drawn first: ``"random"`` ones; those with the largest
        probability of the drawn token, ``"confidence"`` [1]_; with the largest difference between
        the two largest probabilities, ``"margin"``; the smallest entropy, ``"entropy"``; or the
        largest probability, ``"largest"``.
    n_steps : int, optional
        The number of calls, over which the tokens are spread evenly; by default one for each
        token. With `remask` there may be more calls than tokens.
    entropy_bound : float, optional
        Instead of `n_steps`: each call draws as many tokens, in the order of their entropies, as
        keep the sum of these without the largest one below this bound, in nats [3]_; one at least.
        The order must be ``"entropy"``.
    temperature : float, default 1.0
        A divisor of the logits from which tokens are drawn; 0 for the most likely token.
    block : int, optional
        Draw the sequence in blocks of this many tokens, from the first to the last [2]_.
    remask : float, default 0.0
        The probability with which each token that was drawn is masked again after a call, except
        for the last one [4]_. All `n_steps` calls are then made. Not with blocks or a bound.
    tokens : array_like of int, shape (length,) or (n, length), optional
        The initial sequences: given tokens, and `mask` for those to be drawn.
    mask : int, optional
        The token of a mask; by default `n_tokens`.
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
        ``tokens``; ``times``, the shares of masked tokens at which they appeared; and ``bias``, the
        reasons why the sequences do not have the law of the model.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or two exclude each other.
    TargetError
        If the model returns a wrong shape, NaN, +inf, or no possible token.
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `Unmasked` with the tokens so far.

    See Also
    --------
    first_hitting : The reverse process in continuous time, exact with one token in a call.

    Notes
    -----
    With one token in each call, every order that depends on the laws of the tokens alone is exact:
    the sequence has the law of the model. ``"confidence"`` is not, because it looks at the tokens
    that it might draw. A temperature other than 1 changes the law of each token given the others,
    which is not that of the sequence to a power.

    References
    ----------
    .. [1] H. Chang, H. Zhang, L. Jiang, C. Liu, W. T. Freeman, "MaskGIT: masked generative image
       transformer", 2022, arXiv:2202.04200.
    .. [2] S. Nie et al., "Large language diffusion models", 2025, arXiv:2502.09992.
    .. [3] H. Ben-Hamu, I. Gat, D. Severo, N. Nolte, B. Karrer, "Accelerated sampling from masked
       diffusion models via entropy bounded unmasking", 2025, arXiv:2505.24857.
    .. [4] G. Wang, Y. Schiff, S. S. Sahoo, V. Kuleshov, "Remasking discrete diffusion models with
       inference-time scaling", 2025, arXiv:2503.00307.

    Examples
    --------
    Independent tokens; the second one is twice as likely as the first:

    >>> import numpy as np, fermiac as fm
    >>> def logits(tokens, share):
    ...     return np.broadcast_to(np.log([1.0, 2.0]), (*tokens.shape, 2))
    >>> s = fm.score.unmask(logits, 1000, 6, 2, order="entropy", n_steps=2, rng=0)
    >>> s.tokens.shape, s.n_calls, bool(abs(s.tokens.mean() - 2 / 3) < 0.05), len(s.bias)
    ((1000, 6), 2, True, 1)
    """
    where = plan_of(plan, "executor", "store", "part")
    if where.executor is not None or where.part is not None or where.store is not None:
        settings = {name: value for name, value in locals().items() if name not in OF_CALL}
        split = Split(where, rng)
        n = whole("n", n, 0, 2**40)
        return sequences_in_parts(unmask, logits, n, tokens, settings, split)
    start = time.perf_counter()
    logits = made_of(logits)
    n, length = whole("n", n, 0, 2**40), whole("length", length, 1, 2**31 - 1)
    n_tokens = whole("n_tokens", n_tokens, 1, 2**31 - 1)
    none = n_tokens if mask is None else whole("mask", mask, -(2**31), 2**31 - 1)
    if not callable(logits):
        raise ArgumentError(f"logits: {shown(logits)} was given; a callable is needed")
    choice("order", order, ("random", "confidence", "margin", "entropy", "largest"))
    heat = real("temperature", temperature, "0 or more is needed", lambda t: 0 <= t < math.inf)
    again = probability("remask", remask, zero=True)
    size = length if block is None else whole("block", block, 1, 2**31 - 1)
    bound = None
    if entropy_bound is not None:
        needed = "a finite number from 0 on is needed"
        bound = real("entropy_bound", entropy_bound, needed, lambda b: 0 <= b < math.inf)
        if n_steps is not None or order != "entropy":
            raise ArgumentError(
                "entropy_bound: given with n_steps or another order; it needs order='entropy' and "
                "determines the number of calls"
            )
    if again and (block is not None or bound is not None):
        raise ArgumentError("remask: given with block or entropy_bound; leave one of them out")
    state = started(tokens, n, length, n_tokens, none)
    free = state.tokens == none
    first_row, most = WHOLE.get()
    most = int(free.sum(axis=1).max(initial=0)) if most is None else most
    limit = 2**31 - 1 if again else max(most, 1)
    calls = most if n_steps is None else min(whole("n_steps", n_steps, 1, 2**31 - 1), limit)
    job = Job(
        logits=logits,
        n_tokens=n_tokens,
        temperature=heat,
        schedule=lambda m: m,
        at_positions=False,
        key=key_of(rng),
        n_threads=resolve_threads(where.n_threads),
        first=first_row,
    )
    task = _Task(job, order, size, bound, none, free, state.tokens, state.times)
    pace = _Pace(calls, most, length, None if block is None else size)
    settings = {
        "order": order,
        "n_steps": calls if bound is None else None,
        "temperature": heat,
        "block": block,
        "remask": again,
        "entropy_bound": bound,
    }

    def result(done: int, status: str) -> Unmasked:
        bias = [_BY_DRAWS] if order == "confidence" and most > 1 else []
        bias += [TOGETHER] if task.together else []
        bias += [_AGAIN] if again and order != "random" else []
        return Unmasked(
            seed=job.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=done * n,
            wall_time=time.perf_counter() - start,
            status=status,
            tokens=task.tokens.copy(),
            times=task.times.copy(),
            mask=none,
            n_calls=done,
            bias=tuple(bias),
        )

    done = 0
    with reporter(where.progress, "unmask", "tokens") as report:
        try:
            # Tokens may be masked again as long as there are calls, also if all are there.
            while (task.tokens == none).any() or (again and n and done < calls):
                last = done + 1 >= calls and bound is None and block is None
                task.call(done, pace.after(done), 0.0 if last else again)
                done += 1
                if report is not None:
                    left = int((task.tokens == none).sum(axis=1).max(initial=0))
                    if left:
                        report(most - left, most)
        except KeyboardInterrupt as stop:
            stop.partial_result = result(done, "interrupted")  # type: ignore[attr-defined]
            raise
        made = result(done, "complete")
        finish(report, most, made)
    return made


class _Pace(NamedTuple):
    """The numbers of calls, of masks of a sequence, and of tokens of a sequence and of a block."""

    calls: int
    most: int
    length: int
    block: int | None

    def after(self, done: int) -> tuple[int, int]:
        """Return how many tokens there are to be after the next call, and its most tokens."""
        if self.block is None:
            return self.most * min(done + 1, self.calls) // self.calls, self.most
        n_blocks = math.ceil(self.length / self.block)
        return self.most, math.ceil(min(self.block, self.most) / max(self.calls // n_blocks, 1))


@dataclass
class _Task:
    """The sequences, and the rule by which positions are chosen."""

    job: Job
    order: str
    block: int
    bound: float | None
    mask: int
    #: The positions that were masked at the start.
    free: Flags
    tokens: Ints
    times: Array

    def __post_init__(self) -> None:
        n, length = self.tokens.shape
        self._everywhere: Ints = np.broadcast_to(np.arange(length), (n, length))
        self._most = np.maximum(self.free.sum(axis=1), 1)
        #: Whether a call has drawn several tokens of a sequence.
        self.together = False

    def call(self, number: int, wanted: tuple[int, int], again: float) -> None:
        """Draw the tokens of a call, and mask each again with a probability."""
        n, length = self.tokens.shape
        share = (self.tokens == self.mask).sum(axis=1) / self._most
        values = self.job.asked(self.tokens, share, self._everywhere)
        tokens, times = self.tokens.copy(), self.times.copy()
        # In parts, between which Ctrl-C is answered.
        step = max(_AT_ONCE // (4 * length), 1)
        for first in range(0, n, step):
            part = slice(first, min(first + step, n))
            u = _core.score_noise(
                self.job.key,
                CHOICE,
                self.job.first + first,
                part.stop - first,
                number,
                0,
                3 * length,
            )[1]
            tokens[part], times[part] = self._part(values, part, share[part], u, wanted, again)
        self.tokens, self.times = tokens, times

    def _part(
        self,
        values: Any,
        part: slice,
        share: Array,
        u: Array,
        wanted: tuple[int, int],
        again: float,
    ) -> tuple[Ints, Array]:
        """Return the tokens of some sequences after a call, and their times."""
        tokens, times, free = self.tokens[part].copy(), self.times[part].copy(), self.free[part]
        n, length = tokens.shape
        masked = tokens == self.mask
        open_ = self._current(masked)
        rows, at = np.nonzero(open_)
        drawn = tokens.copy()
        if self.order == "confidence":
            drawn[rows, at] = self._draws(values, rows, at, part, u)
        scores = np.full((n, length), -np.inf)
        scores[rows, at] = (
            u[:, length : 2 * length][rows, at]
            if self.order == "random"
            else self._scores(values, rows, at, part.start, drawn)
        )
        ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
        if self.bound is None:
            target, most = wanted
            there = (free & ~masked).sum(axis=1)
            # Sequences with fewer free tokens end earlier.
            counts = np.clip(np.minimum(target, self._most[part]) - there, 0, most)
        else:
            counts = self._within(scores)
        chosen = open_ & (ranks < counts[:, None])
        self.together |= bool((chosen.sum(axis=1) > 1).any())
        rows, at = np.nonzero(chosen)
        if self.order != "confidence":
            drawn[rows, at] = self._draws(values, rows, at, part, u)
        tokens[rows, at] = drawn[rows, at]
        times = np.where(chosen, share[:, None], times)
        if again:
            gone = free & (tokens != self.mask) & (u[:, 2 * length :] < again)
            tokens[gone], times[gone] = self.mask, np.nan
        return tokens, times

    def _draws(self, values: Any, rows: Ints, at: Ints, part: slice, u: Array) -> Any:
        """Return tokens drawn at positions of some sequences."""
        uniforms = np.ascontiguousarray(u[rows, at])
        return self.job.drawn(values, rows + part.start, at, self._everywhere, uniforms)

    def _current(self, masked: Flags) -> Flags:
        """Return the masked positions of the first block that has any."""
        length = masked.shape[1]
        blocks = np.arange(length) // self.block
        first = blocks[np.argmax(masked, axis=1)]
        return np.asarray(masked & (blocks == first[:, None]))

    def _within(self, scores: Array) -> Ints:
        """Return the numbers of tokens whose entropies stay within the bound."""
        assert self.bound is not None
        entropies = -np.sort(-scores, axis=1)
        # Scores are negative entropies, in decreasing order: the last one is the largest.
        there = np.isfinite(entropies)
        entropies = np.where(there, -entropies, 0.0)
        others = np.cumsum(entropies, axis=1) - entropies
        counts: Ints = np.maximum(((others <= self.bound) & there).sum(axis=1), 1)
        return counts

    def _scores(self, values: Any, rows: Ints, at: Ints, first: int, drawn: Ints) -> Array:
        """Return the scores of masked positions, the largest of which are drawn first."""
        found = np.empty(len(rows))
        step = max(_AT_ONCE // self.job.n_tokens, 1)
        for i in range(0, len(rows), step):
            some, where = rows[i : i + step], at[i : i + step]
            picked = _picked(values, some + first, where)
            top = picked.max(axis=1, keepdims=True)
            bad = ~np.isfinite(top[:, 0])
            if bad.any():
                raise TargetError(
                    f"logits: those of row {first + some[np.argmax(bad)]} hold a NaN, +inf, or "
                    "-inf for every token"
                )
            p = np.exp(picked - top)
            p /= p.sum(axis=1, keepdims=True)
            if self.order == "confidence":
                values_of = p[np.arange(len(p)), drawn[some, where]]
            elif self.order == "largest" or p.shape[1] == 1:
                values_of = p.max(axis=1)
            elif self.order == "margin":
                two = np.partition(p, -2, axis=1)[:, -2:]
                values_of = two[:, 1] - two[:, 0]
            else:
                values_of = (p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
            found[i : i + step] = values_of
        return found


def _picked(values: Any, rows: Ints, at: Ints) -> Array:
    """Return logits of some positions as an array."""
    if is_tensor(values):
        torch = sys.modules["torch"]
        index = [torch.as_tensor(a, device=values.device) for a in (rows, at)]
        return np.asarray(values.detach()[index[0], index[1]].double().numpy(force=True))
    return np.asarray(values[rows, at], dtype=np.float64)
