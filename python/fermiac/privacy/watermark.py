"""The test for a watermark, and reference tables of its statistic under null keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, choice, key_of, numbers, real, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.privacy.watermark_keys import (
    ExponentialKey,
    InverseTransformKey,
    check_range,
    integers,
)
from fermiac.results.result import Result

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["WatermarkReference", "WatermarkTest", "detect_watermark", "watermark_reference"]

Array = NDArray[np.float64]
Key = ExponentialKey | InverseTransformKey

Norm: TypeAlias = Literal["size", "last"]
_NORMS: tuple[str, ...] = get_args(Norm)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class WatermarkTest(Result):
    """The result of a test for a watermark; for many texts, arrays with a row for each.

    Attributes
    ----------
    statistic : float or ndarray, shape (texts,)
        φ, the cost of the best alignment of a block of the text with a block of the key. It is low
        if the text was written with the key.
    p_value : float or ndarray, shape (texts,)
        The probability of a statistic at most this low for a text that is independent of the key.
    alignment : ndarray of int, shape (2,) or (texts, 2)
        The first token and the first key row, (i, j), of the best alignment; the earliest one among
        equals.
    null_statistics : ndarray, shape (T,) or (texts, T)
        The statistic under null keys; with a `reference` its sorted table, shape (T,).

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> key = fm.privacy.ExponentialKey(64, 100, rng=1)
    >>> text = key.sample(np.ones(100), 50, offset=10)
    >>> test = fm.privacy.detect_watermark(text, key, n_null=99, rng=0)
    >>> test.p_value, test.alignment
    (0.01, array([ 0, 10]))
    """

    statistic: Any
    p_value: Any
    alignment: NDArray[np.int64]
    null_statistics: Array

    _layout: ClassVar[fit.Layout] = {
        "statistic": fit.figures("*texts"),
        "p_value": fit.figures("*texts"),
        "alignment": fit.array("i", "*texts", 2),
        "null_statistics": fit.either(fit.array("f", "nulls"), fit.array("f", "texts", "nulls")),
    }

    def _headline(self) -> str:
        p, phi = np.atleast_1d(self.p_value), np.atleast_1d(self.statistic)
        null = f"{self.null_statistics.shape[-1]} null keys"
        if np.ndim(self.p_value) == 0:
            i, j = self.alignment
            return (
                f"WatermarkTest: p = {p[0]:.4g}, statistic {phi[0]:.6g} at token {i}, key row {j}, "
                f"{null}"
            )
        if not p.size:
            return f"WatermarkTest: no texts, {null}"
        return f"WatermarkTest: {p.size} texts, p from {p.min():.4g} to {p.max():.4g}, {null}"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class WatermarkReference(Result):
    """A table of the statistic of `detect_watermark` under null keys, for repeated use.

    Attributes
    ----------
    statistics : ndarray, shape (T,)
        The statistics, sorted.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> key = fm.privacy.ExponentialKey(64, 100, rng=1)
    >>> others = np.random.default_rng(0).integers(0, 100, size=(5, 50))
    >>> table = fm.privacy.watermark_reference(others, key, n_null=20, rng=0)
    >>> table.statistics.shape
    (100,)
    """

    statistics: Array

    _layout: ClassVar[fit.Layout] = {
        "statistics": fit.array("f", "nulls", rising=True),
    }

    def _headline(self) -> str:
        x = self.statistics
        span = f", from {x[0]:.6g} to {x[-1]:.6g}" if x.size else ""
        return f"WatermarkReference: {x.size} null statistics{span}"


@public
def detect_watermark(
    tokens: ArrayLike | Sequence[ArrayLike],
    key: Key,
    *,
    block_size: int | None = None,
    gamma: float | None = None,
    n_null: int = 999,
    reference: WatermarkReference | ArrayLike | None = None,
    plain: bool = False,
    rank_norm: Norm = "size",
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> WatermarkTest:
    r"""Test whether a text was written with a key.

    The statistic is the lowest cost of an alignment of a block of the text with successive rows of
    the key, over all blocks and all first rows. Its law for a text that is independent of the key
    is estimated with other, random keys.

    Parameters
    ----------
    tokens : array_like of int, shape (m,) or (texts, m), or sequence of such of shape (m,)
        The text, or texts, of tokens from 0 to V - 1.
    key : InverseTransformKey or ExponentialKey
        The key.
    block_size : int, default m
        Tokens in a block, k, from 1 to the length of the text. Short blocks find a watermark in a
        part of the text.
    gamma : float, optional
        The cost of leaving out a token or a row of the key. With it a watermark is found even after
        insertions and deletions of tokens. By default nothing may be left out. A match lowers the
        cost if its distance is below 2 γ. With exponential keys, whose distances are negative, γ
        may be negative or 0.
    n_null : int, default 999
        The number of null keys, T. With 0 only the statistic is computed, and the p-value is 1.
    reference : WatermarkReference or array_like, shape (T,), optional
        Known statistics under null keys, instead of `n_null` new ones.
    plain : bool, default False
        Return the share of null statistics that are at most as large. It can be 0, which is too
        small for a p-value; use it only for comparison with other implementations.
    rank_norm : {"size", "last"}, default "size"
        The divisor of the ranks of an inverse transform key: V or V - 1.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed of the null keys. An int in [0, 2**64) is the key itself; None takes one from the
        system.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    WatermarkTest
        ``statistic``, ``p_value``, ``alignment``, ``null_statistics``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain: a token that is not in the vocabulary, a block longer
        than a text, a reference that was made for other settings.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `WatermarkTest` from the finished null keys (for one
        text) or the finished texts (for several), or None.

    See Also
    --------
    watermark_reference : Null statistics to use for many texts.

    Notes
    -----
    A token y costs :math:`|\pi(y) / V - u|` at a row of an inverse transform key with ranks π, and
    :math:`\ln(1 - \xi_y)` at a row of an exponential key. The cost of a block is the sum over its
    tokens at successive rows. With `gamma` it is the cost of the best alignment with equally many
    rows, in which each left-out token or row costs γ. The statistic :math:`\varphi` is the minimum
    of the cost over the first token i and the first row j. Key rows repeat after n.

    With T null keys, :math:`p = (1 + \#\{t: \varphi_t \le \varphi\}) / (1 + T)`. Given the text,
    the statistics of the key and of the null keys are independent and identically distributed.
    Therefore P(p ≤ α) ≤ α for every α, with equality if (1 + T) α is a whole number and no
    statistics are equal. This requires that the key was drawn independently of the text. A null key
    needs numbers only for the distinct tokens of the text.

    Texts of one call share their null keys: each has the same p-value as in a separate call with
    the same `rng`. Given the texts, the p-values are therefore dependent.

    Without `gamma` the work is m n for a key; with it (m - k + 1) n k². Sums of at most 3 k
    distances are rounded. The bits are the same on any number of threads.

    References
    ----------
    .. [1] R. Kuditipudi, J. Thickstun, T. Hashimoto, P. Liang, "Robust distortion-free watermarks
       for language models", 2023, arXiv:2307.15593.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> key = fm.privacy.ExponentialKey(64, 100, rng=1)
    >>> text = key.sample(np.ones(100), 50, offset=10)
    >>> test = fm.privacy.detect_watermark(text, key, rng=0)
    >>> test.p_value, test.alignment
    (0.001, array([ 0, 10]))
    >>> shorter = np.delete(text, [7, 20, 33])
    >>> fm.privacy.detect_watermark(shorter, key, gamma=-0.25, n_null=99, rng=0).p_value
    0.01
    """
    where = plan_of(plan)
    start = time.perf_counter()
    plain = yes("plain", plain)
    settings = _settings(key, block_size, gamma, n_null, rank_norm)
    texts, many = _texts(tokens, key)
    known = None
    if reference is not None:
        known = _known(reference, settings, texts)
        settings["n_null"] = 0
    if plain and (settings["n_null"] if known is None else known.size) == 0:
        raise ArgumentError("plain: True given without null keys; n_null must be at least 1")
    seed = None if known is not None else key_of(rng)

    def result(rows: list[_Row], status: str) -> WatermarkTest:
        phi = np.array([row[0] for row in rows])
        if known is None:
            size = rows[0][3].size if rows else settings["n_null"]
            null = np.array([row[3] for row in rows]).reshape(len(rows), size)
            low = np.count_nonzero(null <= phi[:, None], axis=1)
        else:
            null, low = known, np.searchsorted(known, phi, side="right")
        T = null.shape[-1]
        p = low / T if plain else (1 + low) / (1 + T)
        at = np.array([row[1:3] for row in rows], dtype=np.int64).reshape(-1, 2)
        return WatermarkTest(
            seed=seed,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={**settings, "plain": plain},
            n_evals=sum(1 + row[3].size for row in rows),
            wall_time=time.perf_counter() - start,
            status=status,
            statistic=phi if many else float(phi[0]),
            p_value=p if many else float(p[0]),
            alignment=at if many else at[0],
            null_statistics=null if many or known is not None else null[0],
        )

    with reporter(where.progress, "watermark", "keys") as report:
        rows, error = _align(key, texts, settings, seed, where.n_threads, report)
        if error is not None:
            if isinstance(error, KeyboardInterrupt):
                # A text is finished if all its null keys are; for a single text some suffice.
                enough = settings["n_null"] if many else min(1, settings["n_null"])
                done = [row for row in rows if row[3].size >= enough]
                partial = result(done, "interrupted") if done else None
                error.partial_result = partial  # type: ignore[attr-defined]
            raise error
        test = result(rows, "complete")
        finish(report, test.n_evals, test)
    return test


@public
def watermark_reference(
    tokens: ArrayLike | Sequence[ArrayLike],
    key: Key,
    *,
    block_size: int | None = None,
    gamma: float | None = None,
    n_null: int = 999,
    rank_norm: Norm = "size",
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> WatermarkReference:
    """Return a table of the statistic of `detect_watermark` under null keys, for many texts.

    Parameters
    ----------
    tokens : array_like of int, shape (m,) or (texts, m), or sequence of such of shape (m,)
        A text, or texts, without a watermark, similar to the texts to be tested.
    key : InverseTransformKey or ExponentialKey
        A key of the same kind, `n` and `vocab_size` as the key of the test; its numbers do not
        matter.
    block_size, gamma, rank_norm
        As in `detect_watermark`.
    n_null : int, default 999
        The number of null keys for each text; each text has its own keys.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed of the null keys.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    WatermarkReference
        ``statistics``, sorted, of all texts together.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    Notes
    -----
    The law of the statistic depends on the length of the text and on the repetitions of its tokens.
    p-values from a table are therefore exact for the text of the table, and good approximations for
    similar texts. With one null key for each of many texts from the same law as the tested text,
    they are exact on average over texts.

    References
    ----------
    .. [1] R. Kuditipudi, J. Thickstun, T. Hashimoto, P. Liang, "Robust distortion-free watermarks
       for language models", 2023, arXiv:2307.15593.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> key = fm.privacy.ExponentialKey(64, 100, rng=1)
    >>> others = np.random.default_rng(0).integers(0, 100, size=(20, 50))
    >>> table = fm.privacy.watermark_reference(others, key, n_null=50, rng=0)
    >>> table.statistics.shape
    (1000,)
    >>> text = key.sample(np.ones(100), 50)
    >>> fm.privacy.detect_watermark(text, key, reference=table).p_value < 0.01
    True
    """
    where = plan_of(plan)
    start = time.perf_counter()
    settings = _settings(key, block_size, gamma, n_null, rank_norm)
    texts, _ = _texts(tokens, key)
    lengths = {text.size for text in texts}
    seed = key_of(rng)
    with reporter(where.progress, "watermark", "keys") as report:
        rows, error = _align(None, texts, settings, seed, where.n_threads, report)
        if error is not None:
            raise error
        statistics = np.sort(np.concatenate([np.empty(0), *(row[3] for row in rows)]))
        table = WatermarkReference(
            seed=seed,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={**settings, "n_tokens": lengths.pop() if len(lengths) == 1 else None},
            n_evals=statistics.size,
            wall_time=time.perf_counter() - start,
            statistics=statistics,
        )
        finish(report, statistics.size, table)
    return table


def _settings(
    key: Key, block_size: int | None, gamma: float | None, n_null: int, rank_norm: str
) -> dict[str, Any]:
    """Return the settings that comparable statistics share, and the number of null keys."""
    if not isinstance(key, ExponentialKey | InverseTransformKey):
        raise ArgumentError(
            f"key: a {type(key).__name__} given; an InverseTransformKey or ExponentialKey is needed"
        )
    if choice("rank_norm", rank_norm, _NORMS) == "last" and key.vocab_size == 1:
        raise ArgumentError("rank_norm: 'last' given for a vocabulary of one token; use 'size'")
    if gamma is not None:
        # With a larger number the costs of tokens would be rounded away.
        needed = "a number from -1e6 to 1e6, or None, is needed"
        gamma = real("gamma", gamma, needed, lambda x: abs(x) <= 1e6)
    return {
        "key": type(key).__name__,
        "n": key.n,
        "vocab_size": key.vocab_size,
        "block_size": None if block_size is None else whole("block_size", block_size, 1, 2**31 - 1),
        "gamma": gamma,
        "rank_norm": rank_norm,
        "n_null": whole("n_null", n_null, 0, 2**31 - 1),
    }


def _texts(tokens: Any, key: Key) -> tuple[list[NDArray[np.int64]], bool]:
    """Return the texts, and whether a sequence of texts was given."""
    many = isinstance(tokens, list | tuple) and any(
        isinstance(text, list | tuple) or np.ndim(text) > 0 for text in tokens
    )
    if many:
        texts = [integers("tokens", text) for text in tokens]
    else:
        given = integers("tokens", tokens)
        many = given.ndim == 2
        texts = list(given) if many else [given]
    for text in texts:
        if text.ndim != 1 or not text.size:
            raise ArgumentError(
                f"tokens: an array of shape {text.shape} given for a text; (m,) is needed, with a "
                "token at least"
            )
        check_range(text, key.vocab_size)
    return texts, many


def _known(reference: Any, settings: dict[str, Any], texts: list[NDArray[np.int64]]) -> Array:
    """Return the sorted table of a reference that fits."""
    if isinstance(reference, WatermarkReference):
        made = reference.settings
        for name in ("key", "n", "vocab_size", "block_size", "gamma", "rank_norm"):
            if made[name] != settings[name]:
                raise ArgumentError(
                    f"reference: made with {name} {shown(made[name])}, while "
                    f"{shown(settings[name])} is asked for; make one for these settings with "
                    "watermark_reference"
                )
        for text in texts:
            if made["n_tokens"] not in (None, text.size):
                raise ArgumentError(
                    f"reference: made for texts of {made['n_tokens']} tokens, while one has "
                    f"{text.size}; make one for texts of this length with watermark_reference"
                )
        return reference.statistics
    table = numbers("reference", reference)
    if table.ndim != 1:
        raise ArgumentError(f"reference: an array of shape {table.shape} given; (T,) is needed")
    return np.sort(table)


#: (statistic, first token, first key row, null statistics) of a text.
_Row = tuple[float, int, int, Array]


def _align(
    key: Key | None,
    texts: list[NDArray[np.int64]],
    settings: dict[str, Any],
    seed: int | None,
    n_threads: int | None,
    report: Report | None,
) -> tuple[list[_Row], BaseException | None]:
    """Return the alignments of the texts; without a key each text has its own null keys."""
    threads = resolve_threads(n_threads)
    for text in texts:
        if (settings["block_size"] or 1) > text.size:
            raise ArgumentError(
                f"block_size: {settings['block_size']} given for a text of {text.size} tokens; it "
                "must not be longer than a text"
            )
    if not texts:
        return [], None
    used, places = np.unique(np.concatenate(texts).astype(np.uint32), return_inverse=True)
    transform = settings["key"] == "InverseTransformKey"
    options = {
        "vocab_size": settings["vocab_size"] if transform else None,
        "scale": float(settings["vocab_size"] - (settings["rank_norm"] == "last")),
        "n": settings["n"],
        "block": settings["block_size"],
        "gamma": settings["gamma"],
        "n_null": settings["n_null"],
        "shared": key is not None,
        "seed": seed or 0,
    }
    restricted = None if key is None else key._restricted(used)
    lengths = [text.size for text in texts]
    return _core.watermark_align(
        restricted, places.astype(np.uint32), lengths, options, threads, report
    )
