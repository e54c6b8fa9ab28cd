"""Secret keys of watermarks, and texts written with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.config import get_num_threads
from fermiac._base.validate import RngLike, key_of, numbers, taken, whole
from fermiac.errors import ArgumentError

__all__ = ["ExponentialKey", "InverseTransformKey"]

Array = NDArray[np.float64]
Tokens = NDArray[np.int64]
Probabilities: TypeAlias = "ArrayLike | Callable[[Tokens], ArrayLike]"

_LARGEST = 2**31 - 1


class _Key:
    """Base class of the keys: rows, a vocabulary, a seed; frozen."""

    __slots__ = ("_n", "_seed", "_vocab_size")

    _n: int
    _vocab_size: int
    _seed: int | None

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._set(**state[1])

    @property
    def n(self) -> int:
        """The number of rows."""
        return self._n

    @property
    def vocab_size(self) -> int:
        """The number of tokens in the vocabulary, V."""
        return self._vocab_size

    @property
    def seed(self) -> int | None:
        """The seed that reproduces the key as ``rng``; None for a key from arrays."""
        return self._seed

    def __repr__(self) -> str:
        where = "from arrays" if self._seed is None else f"rng={self._seed}"
        return f"{type(self).__name__}({self._n}, {self._vocab_size}, {where})"

    def _derive(self, n: int, vocab_size: int, rng: RngLike) -> int:
        rows, size = whole("n", n, 1, _LARGEST), whole("vocab_size", vocab_size, 1, _LARGEST)
        seed = key_of(rng)
        self._set(_n=rows, _vocab_size=size, _seed=seed)
        return seed

    def _choose(self, table: Array, first: int, n_threads: int) -> NDArray[Any]:
        raise NotImplementedError

    def _restricted(self, tokens: NDArray[np.uint32]) -> Any:
        """Return the part of the key that belongs to these tokens, for the core."""
        raise NotImplementedError

    def sample(
        self,
        probabilities: Probabilities,
        m: int | None = None,
        *,
        offset: int = 0,
    ) -> Tokens:
        """Return a text with the watermark of this key.

        Averaged over keys, each token has the given probabilities, as long as no row of the key is
        used twice.

        Parameters
        ----------
        probabilities : array_like, shape (V,) or (m, V), or callable
            The law of the next token: one for all positions, one for each position, or a function
            of the tokens so far, shape (i,), that returns (V,). Rows need not sum to 1.
        m : int, optional
            The number of tokens to write; required unless there is a law for each position.
        offset : int, default 0
            The key row of the first token. The following tokens use the next rows, and the first
            row follows the last one.

        Returns
        -------
        ndarray of int64, shape (m,)
            The tokens.

        Raises
        ------
        ArgumentError
            If the probabilities are negative, not finite, all 0 in a row or of another shape, or
            `m` or `offset` is out of range.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> key = fm.privacy.InverseTransformKey(64, 5, rng=0)
        >>> key.sample(np.ones(5), 40).shape
        (40,)
        """
        first = whole("offset", offset, 0, _LARGEST)
        threads = get_num_threads()
        if callable(probabilities):
            if m is None:
                raise ArgumentError("m: None given; with a function, say how many tokens to write")
            out = np.empty(whole("m", m, 1, _LARGEST), dtype=np.int64)
            for i in range(out.size):
                row = self._table(
                    ask(probabilities, (out[:i],), "probabilities", f"for token {i}"), 1
                )
                out[i] = self._choose(row[None], first + i, threads)[0]
            return out
        table = self._table(probabilities, 2)
        if table.ndim == 1:
            if m is None:
                raise ArgumentError("m: None given; with one law, say how many tokens to write")
            table = np.broadcast_to(table, (whole("m", m, 1, _LARGEST), table.size))
        elif m is not None and whole("m", m, 1, _LARGEST) != len(table):
            raise ArgumentError(f"m: {m} given with probabilities for {len(table)} positions")
        # A table for one law repeated is made in parts, never as a whole.
        part = max(1, 2**22 // self._vocab_size)
        parts = range(0, len(table), part)
        chosen = [self._choose(table[i : i + part], first + i, threads) for i in parts]
        return np.concatenate(chosen).astype(np.int64)

    def _table(self, given: Any, max_ndim: int) -> Array:
        table = numbers("probabilities", given)
        if not 1 <= table.ndim <= max_ndim or table.shape[-1] != self._vocab_size or not table.size:
            shapes = "(V,)" if max_ndim == 1 else "(V,) or (m, V)"
            raise ArgumentError(
                f"probabilities: an array of shape {table.shape} given; {shapes} is needed, "
                f"V = {self._vocab_size}"
            )
        if not np.all((table >= 0) & (table < np.inf)):
            raise ArgumentError("probabilities: they must be finite and not negative")
        if not np.all(table.any(axis=-1)):
            raise ArgumentError("probabilities: all are 0 for a position; one must not be")
        # Far from 1, sums and quotients of weights overflow, or lose their digits.
        most = table.max(axis=-1, keepdims=True)
        far = (most > 1e250) | (most < 1e-250)
        return np.where(far, table / most, table) if far.any() else table


class InverseTransformKey(_Key):
    """A key of inverse transform sampling: a number for each row, and an order of the vocabulary.

    The token of a row with number u is the first one, in the key's order of the vocabulary, at
    which the cumulative probability is at least u.

    Parameters
    ----------
    n : int
        The number of rows, after which the key repeats, from 1 to 2**31 - 1.
    vocab_size : int
        The number of tokens in the vocabulary, from 1 to 2**31 - 1.
    rng : None, int, numpy SeedSequence or Generator, default None
        The secret. An int in [0, 2**64) is the key itself; None takes one from the system.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    See Also
    --------
    ExponentialKey : The other kind of key.
    detect_watermark : The test for a key.

    References
    ----------
    .. [1] R. Kuditipudi, J. Thickstun, T. Hashimoto, P. Liang, "Robust distortion-free watermarks
       for language models", 2023, arXiv:2307.15593.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> key = fm.privacy.InverseTransformKey(256, 1000, rng=1)
    >>> key.uniforms.shape, np.sort(key.ranks)[-1]
    ((256,), np.int64(999))
    """

    __slots__ = ("_ranks", "_uniforms")

    _uniforms: Array
    _ranks: NDArray[np.int64]

    def __init__(self, n: int, vocab_size: int, *, rng: RngLike = None) -> None:
        seed = self._derive(n, vocab_size, rng)
        uniforms, ranks = _core.watermark_transform_key(seed, self._n, self._vocab_size)
        self._set(_uniforms=uniforms, _ranks=ranks.astype(np.int64))

    @classmethod
    def from_arrays(cls, uniforms: ArrayLike, ranks: ArrayLike) -> InverseTransformKey:
        """Return a key from given numbers.

        Parameters
        ----------
        uniforms : array_like, shape (n,)
            The number of each row, from 0 to 1.
        ranks : array_like of int, shape (V,)
            The position of each token, from 0 to V - 1, in the order of the vocabulary:
            ``numpy.argsort`` of the tokens in that order.

        Returns
        -------
        InverseTransformKey
            The key.

        Raises
        ------
        ArgumentError
            If a number is not from 0 to 1, or `ranks` is not a permutation.

        Examples
        --------
        >>> import fermiac as fm
        >>> key = fm.privacy.InverseTransformKey.from_arrays([0.1, 0.9], [2, 0, 1])
        >>> key.sample([0.5, 0.25, 0.25], 2)
        array([1, 0])
        """
        u = numbers("uniforms", uniforms)
        if u.ndim != 1 or not u.size or not np.all((u >= 0) & (u <= 1)):
            raise ArgumentError(
                f"uniforms: an array of shape {u.shape} given; numbers from 0 to 1, shape (n,), "
                "are needed"
            )
        r = integers("ranks", ranks)
        if r.ndim != 1 or not r.size or not np.array_equal(np.sort(r), np.arange(r.size)):
            raise ArgumentError(
                f"ranks: an array of shape {r.shape} given; each of 0, …, V - 1 is needed once, "
                "shape (V,)"
            )
        key = cls.__new__(cls)
        key._set(_n=u.size, _vocab_size=r.size, _seed=None, _uniforms=u.copy(), _ranks=r.copy())
        return key

    @property
    def uniforms(self) -> Array:
        """The number of each row, shape (n,)."""
        return self._uniforms

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The rank of each token, shape (V,)."""
        return self._ranks

    def _choose(self, table: Array, first: int, n_threads: int) -> NDArray[Any]:
        order = np.empty_like(self._ranks)
        order[self._ranks] = np.arange(self._vocab_size)
        out = np.empty(len(table), dtype=np.int64)
        for i, row in enumerate(table):
            reached = np.cumsum(row[order])
            at = self._uniforms[(first + i) % self._n] * reached[-1]
            # A number of 0 must not choose a token of probability 0.
            place = np.searchsorted(reached, at, "left" if at > 0 else "right")
            out[i] = order[place]
        return out

    def _restricted(self, tokens: NDArray[np.uint32]) -> Any:
        return self._uniforms, self._ranks[tokens].astype(np.uint32)


class ExponentialKey(_Key):
    """A key of exponential minimum sampling: a number for each row and each token.

    The token of a row with numbers ξ is the y with the lowest -ln(ξ_y) / p_y. The numbers are
    functions of the seed and their position, and are computed when they are needed. A key therefore
    takes no memory, even for a large vocabulary.

    Parameters
    ----------
    n : int
        The number of rows, after which the key repeats, from 1 to 2**31 - 1.
    vocab_size : int
        The number of tokens in the vocabulary, from 1 to 2**31 - 1.
    rng : None, int, numpy SeedSequence or Generator, default None
        The secret. An int in [0, 2**64) is the key itself; None takes one from the system.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    See Also
    --------
    InverseTransformKey : The other kind of key.
    detect_watermark : The test for a key.

    References
    ----------
    .. [1] R. Kuditipudi, J. Thickstun, T. Hashimoto, P. Liang, "Robust distortion-free watermarks
       for language models", 2023, arXiv:2307.15593.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> key = fm.privacy.ExponentialKey(256, 50_000, rng=1)
    >>> key.columns([3, 14_159]).shape
    (256, 2)
    """

    __slots__ = ("_source",)

    _source: int | Array

    def __init__(self, n: int, vocab_size: int, *, rng: RngLike = None) -> None:
        self._set(_source=self._derive(n, vocab_size, rng))

    @classmethod
    def from_array(cls, xi: ArrayLike) -> ExponentialKey:
        """Return a key from given numbers.

        Parameters
        ----------
        xi : array_like, shape (n, V)
            The numbers, at least 0 and below 1: the distance ln(1 - ξ) has no value at 1.

        Returns
        -------
        ExponentialKey
            The key.

        Raises
        ------
        ArgumentError
            If a number is outside [0, 1), or the array is of another shape.

        Examples
        --------
        >>> import fermiac as fm
        >>> key = fm.privacy.ExponentialKey.from_array([[0.9, 0.2], [0.1, 0.8]])
        >>> key.sample([0.5, 0.5], 2)
        array([0, 1])
        """
        x = numbers("xi", xi)
        if x.ndim != 2 or not x.size:
            raise ArgumentError(f"xi: an array of shape {x.shape} given; (n, V) is needed")
        if not np.all((x >= 0) & (x < 1)):
            raise ArgumentError(
                f"xi: numbers from {x.min():.6g} to {x.max():.6g} given; all must be at least 0 "
                "and below 1"
            )
        key = cls.__new__(cls)
        n, vocab_size = x.shape
        key._set(_n=n, _vocab_size=vocab_size, _seed=None, _source=np.array(x, order="C"))
        return key

    def columns(self, tokens: ArrayLike) -> Array:
        """Return the numbers of some tokens.

        Parameters
        ----------
        tokens : array_like of int, shape (k,)
            Tokens, each from 0 to V - 1.

        Returns
        -------
        ndarray, shape (n, k)
            Their columns of the array of numbers.

        Raises
        ------
        ArgumentError
            If a token is out of range.

        Examples
        --------
        >>> import fermiac as fm
        >>> fm.privacy.ExponentialKey.from_array([[0.9, 0.2], [0.1, 0.8]]).columns([1])
        array([[0.2],
               [0.8]])
        """
        y = integers("tokens", tokens)
        if y.ndim != 1:
            raise ArgumentError(f"tokens: an array of shape {y.shape} given; (k,) is needed")
        check_range(y, self._vocab_size)
        if isinstance(self._source, np.ndarray):
            return self._source[:, y]
        return _core.watermark_numbers(self._source, y.astype(np.uint32), self._n).T

    def _choose(self, table: Array, first: int, n_threads: int) -> NDArray[Any]:
        p = np.ascontiguousarray(table)
        return _core.watermark_choose(self._source, self._n, p, first % self._n, n_threads)

    def _restricted(self, tokens: NDArray[np.uint32]) -> Any:
        if isinstance(self._source, np.ndarray):
            return np.ascontiguousarray(self._source[:, tokens].T)
        return self._source, tokens


def integers(name: str, given: Any) -> NDArray[np.int64]:
    """Return an array of whole numbers, checked."""
    array = taken(name, given)
    if array.dtype.kind not in "iu":
        if array.size == 0:
            raise ArgumentError(f"{name}: an empty array was given; one number at least is needed")
        raise ArgumentError(
            f"{name}: an array of type {array.dtype} was given; whole numbers are needed"
        )
    return array.astype(np.int64)


def check_range(tokens: NDArray[np.int64], vocab_size: int) -> None:
    """Refuse tokens that are not in the vocabulary."""
    wrong = (tokens < 0) | (tokens >= vocab_size)
    if wrong.any():
        raise ArgumentError(
            f"tokens: {tokens[wrong][0]} given; the vocabulary of the key has 0 to {vocab_size - 1}"
        )
