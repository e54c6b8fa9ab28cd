"""Random streams with addresses: `Stream`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import (
    RngLike,
    Size,
    key_of,
    positive,
    real_numbers,
    shape_of,
    taken,
    whole,
)
from fermiac.errors import ArgumentError

__all__ = ["Stream"]

_Floats: TypeAlias = "NDArray[np.float64]"
_Integers: TypeAlias = "NDArray[np.int64]"


class Stream:
    """A stream of random numbers, defined by its address.

    Philox4x32-10 [1]_ hashes the address into the states of eight xoshiro256++ [2]_ generators,
    whose words are taken in turn. A method with a `size` returns the same numbers, in C order, as
    that many calls without `size`. The numbers are the same on every machine and at every
    instruction-set level.

    Threads may share a stream; the order in which they draw is then random. A stream can be
    pickled and copied; the copy continues at the position of the original.

    Parameters
    ----------
    key : int, numpy.random.SeedSequence, numpy.random.Generator or None
        The key, or an argument from which `key_of` makes one.
    index : int, default 0
        The number of the part of the computation, from 0 to 2**64 - 1.
    block : int, default 0
        The number of the section of that part, from 0 to 2**32 - 1.

    Raises
    ------
    ArgumentError
        If a part of the address is out of range or not a whole number.

    See Also
    --------
    numpy.random.Generator : Random numbers of many more laws, without addresses.

    References
    ----------
    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw (2011), "Parallel random numbers:
       as easy as 1, 2, 3", SC '11, doi:10.1145/2063384.2063405.
    .. [2] D. Blackman and S. Vigna (2021), "Scrambled linear pseudorandom number generators", ACM
       Transactions on Mathematical Software 47(4), doi:10.1145/3460772.

    Examples
    --------
    >>> from fermiac.random import Stream
    >>> stream = Stream(7, index=3)
    >>> x = stream.normal(size=(100, 2))
    >>> x.shape
    (100, 2)
    >>> again = Stream(7, index=3)
    >>> bool(again.normal() == x[0, 0])
    True
    """

    __slots__ = ("_name", "_stream")

    def __init__(self, key: RngLike, index: int = 0, block: int = 0) -> None:
        key = key_of(key)
        index = whole("index", index, 0, 2**64 - 1)
        block = whole("block", block, 0, 2**32 - 1)
        self._stream = _core.Stream(key, index, block)
        self._name = f"Stream(key={key}, index={index}, block={block})"

    @classmethod
    def from_position(cls, position: ArrayLike) -> Stream:
        """Return the stream at a position.

        Parameters
        ----------
        position : array_like of uint64, shape (33,)
            The `Stream.position` of a stream.

        Returns
        -------
        Stream
            A stream with the same next numbers as the stream of the position.

        Raises
        ------
        ArgumentError
            If `position` is not 33 unsigned 64-bit words, or not the position of a stream.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> stream = Stream(7)
        >>> position = stream.position
        >>> stream.uniform() == Stream.from_position(position).uniform()
        True
        """
        words = taken("position", position)
        if words.shape != (33,) or words.dtype != np.uint64:
            raise ArgumentError(
                f"position: an array of {words.dtype} of shape {words.shape} was given; uint64 of "
                "shape (33,) is needed, as Stream.position returns it"
            )
        self = cls.__new__(cls)
        self._stream = _core.Stream.from_position(np.ascontiguousarray(words))
        self._name = "Stream.from_position(...)"
        return self

    @property
    def position(self) -> NDArray[np.uint64]:
        """The position: uint64, shape (33,), with thirty-two words of state and an offset."""
        return self._stream.position()

    def __repr__(self) -> str:
        """Return the address of the stream."""
        return self._name

    def __reduce__(self) -> tuple[Callable[[ArrayLike], Stream], tuple[NDArray[np.uint64]]]:
        """Pickle and copy by position."""
        return (type(self).from_position, (self.position,))

    @overload
    def uniform(self, size: None = None) -> float: ...
    @overload
    def uniform(self, size: Size) -> _Floats: ...
    def uniform(self, size: Size | None = None) -> float | _Floats:
        """Draw uniform numbers in the open interval (0, 1).

        Parameters
        ----------
        size : int or tuple of int, optional
            The shape of the array; by default a single float.

        Returns
        -------
        float or numpy.ndarray
            Odd multiples of 2**-53: never 0 or 1, so that their logarithms are finite.

        Raises
        ------
        ArgumentError
            If `size` is not a shape.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> bool(abs(Stream(1).uniform(10_000).mean() - 0.5) < 0.02)
        True
        """
        if size is None:
            return self._stream.uniform()
        out = np.empty(shape_of(size))
        self._stream.fill_uniform(out.reshape(-1))
        return out

    @overload
    def normal(self, size: None = None) -> float: ...
    @overload
    def normal(self, size: Size) -> _Floats: ...
    def normal(self, size: Size | None = None) -> float | _Floats:
        """Draw standard normal numbers by the ziggurat method [1]_.

        Parameters
        ----------
        size : int or tuple of int, optional
            The shape of the array; by default a single float.

        Returns
        -------
        float or numpy.ndarray
            Independent normal numbers with mean 0 and variance 1.

        Raises
        ------
        ArgumentError
            If `size` is not a shape.

        References
        ----------
        .. [1] G. Marsaglia and W. W. Tsang (2000), "The ziggurat method for generating random
           variables", Journal of Statistical Software 5(8), doi:10.18637/jss.v005.i08.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> bool(abs(Stream(1).normal(10_000).std() - 1) < 0.05)
        True
        """
        if size is None:
            return self._stream.normal()
        out = np.empty(shape_of(size))
        self._stream.fill_normal(out.reshape(-1))
        return out

    @overload
    def exponential(self, size: None = None) -> float: ...
    @overload
    def exponential(self, size: Size) -> _Floats: ...
    def exponential(self, size: Size | None = None) -> float | _Floats:
        """Draw exponential numbers with mean 1 by the ziggurat method.

        Parameters
        ----------
        size : int or tuple of int, optional
            The shape of the array; by default a single float.

        Returns
        -------
        float or numpy.ndarray
            Independent exponential numbers, all positive.

        Raises
        ------
        ArgumentError
            If `size` is not a shape.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> bool(abs(Stream(1).exponential(10_000).mean() - 1) < 0.05)
        True
        """
        if size is None:
            return self._stream.exponential()
        out = np.empty(shape_of(size))
        self._stream.fill_exponential(out.reshape(-1))
        return out

    @overload
    def gamma(self, shape: float, size: None = None) -> float: ...
    @overload
    def gamma(self, shape: float, size: Size) -> _Floats: ...
    def gamma(self, shape: float, size: Size | None = None) -> float | _Floats:
        """Draw gamma numbers with scale 1 [1]_.

        Parameters
        ----------
        shape : float
            The shape of the law, positive and finite. Below about 0.01 many numbers are smaller
            than the least double and are returned as 0.
        size : int or tuple of int, optional
            The shape of the array; by default a single float.

        Returns
        -------
        float or numpy.ndarray
            Independent numbers with density proportional to x**(shape - 1) exp(-x).

        Raises
        ------
        ArgumentError
            If `shape` is not positive and finite, or `size` is not a shape.

        References
        ----------
        .. [1] G. Marsaglia and W. W. Tsang (2000), "A simple method for generating gamma
           variables", ACM Transactions on Mathematical Software 26(3), doi:10.1145/358407.358414.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> bool(abs(Stream(1).gamma(4.0, 10_000).mean() - 4) < 0.1)
        True
        """
        shape = positive("shape", shape)
        if size is None:
            return self._stream.gamma(shape)
        out = np.empty(shape_of(size))
        self._stream.fill_gamma(out.reshape(-1), shape)
        return out

    @overload
    def beta(self, a: float, b: float, size: None = None) -> float: ...
    @overload
    def beta(self, a: float, b: float, size: Size) -> _Floats: ...
    def beta(self, a: float, b: float, size: Size | None = None) -> float | _Floats:
        """Draw beta numbers.

        Parameters
        ----------
        a, b : float
            The shapes of the law, positive and finite. They may be very small, since the method
            works with logarithms.
        size : int or tuple of int, optional
            The shape of the array; by default a single float.

        Returns
        -------
        float or numpy.ndarray
            Independent numbers with density proportional to x**(a - 1) (1 - x)**(b - 1), from 0
            to 1; an end is returned where it is the nearest double.

        Raises
        ------
        ArgumentError
            If `a` or `b` is not positive and finite, or `size` is not a shape.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> bool(abs(Stream(1).beta(1.0, 3.0, 10_000).mean() - 0.25) < 0.01)
        True
        """
        a, b = positive("a", a), positive("b", b)
        if size is None:
            return self._stream.beta(a, b)
        out = np.empty(shape_of(size))
        self._stream.fill_beta(out.reshape(-1), a, b)
        return out

    @overload
    def student_t(self, df: float, size: None = None) -> float: ...
    @overload
    def student_t(self, df: float, size: Size) -> _Floats: ...
    def student_t(self, df: float, size: Size | None = None) -> float | _Floats:
        """Draw Student's t numbers.

        Parameters
        ----------
        df : float
            The degrees of freedom, positive; infinity is the normal law. Below about 0.01 many
            numbers are larger than the largest double and are returned as infinity.
        size : int or tuple of int, optional
            The shape of the array; by default a single float.

        Returns
        -------
        float or numpy.ndarray
            Independent numbers with density proportional to (1 + x**2 / df)**(-(df + 1) / 2).

        Raises
        ------
        ArgumentError
            If `df` is not positive, or `size` is not a shape.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> bool(abs(Stream(1).student_t(30.0, 10_000).mean()) < 0.05)
        True
        """
        df = positive("df", df, infinite=True)
        if size is None:
            return self._stream.student_t(df)
        out = np.empty(shape_of(size))
        self._stream.fill_student_t(out.reshape(-1), df)
        return out

    @overload
    def integers(self, n: int, size: None = None) -> int: ...
    @overload
    def integers(self, n: int, size: Size) -> _Integers: ...
    def integers(self, n: int, size: Size | None = None) -> int | _Integers:
        """Draw whole numbers from 0 to ``n - 1`` with exactly equal probabilities [1]_.

        Parameters
        ----------
        n : int
            The number of values, from 1 to 2**63.
        size : int or tuple of int, optional
            The shape of the array; by default a single int.

        Returns
        -------
        int or numpy.ndarray of int64
            Independent numbers.

        Raises
        ------
        ArgumentError
            If `n` is out of range or not a whole number, or `size` is not a shape.

        References
        ----------
        .. [1] D. Lemire (2019), "Fast random integer generation in an interval", ACM Transactions
           on Modeling and Computer Simulation 29(1), doi:10.1145/3230636.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> sorted({int(k) for k in Stream(1).integers(6, 1000)})
        [0, 1, 2, 3, 4, 5]
        """
        n = whole("n", n, 1, 2**63)
        if size is None:
            return self._stream.below(n)
        out = np.empty(shape_of(size), np.int64)
        self._stream.fill_below(out.reshape(-1), n)
        return out

    @overload
    def categorical(self, weights: ArrayLike, size: None = None) -> int: ...
    @overload
    def categorical(self, weights: ArrayLike, size: Size) -> _Integers: ...
    def categorical(self, weights: ArrayLike, size: Size | None = None) -> int | _Integers:
        """Draw indices with given weights by the alias method [1]_.

        Each call builds a table in time linear in the number of weights and then draws in constant
        time, so draw many indices in one call.

        Parameters
        ----------
        weights : array_like, shape (k,)
            Finite, not negative, not all zero. They need not sum to one.
        size : int or tuple of int, optional
            The shape of the array; by default a single int.

        Returns
        -------
        int or numpy.ndarray of int64
            Independent indices from 0 to ``k - 1``; one of weight zero is never drawn.

        Raises
        ------
        ArgumentError
            If `weights` are not finite, negative or all zero, or if `size` is not a shape.

        References
        ----------
        .. [1] M. D. Vose (1991), "A linear algorithm for generating random numbers with a given
           distribution", IEEE Transactions on Software Engineering 17(9), doi:10.1109/32.92917.

        Examples
        --------
        >>> from fermiac.random import Stream
        >>> sorted({int(k) for k in Stream(1).categorical([1, 0, 3], 1000)})
        [0, 2]
        """
        table = real_numbers("weights", weights, copy=None)
        if table.ndim != 1:
            raise ArgumentError(
                f"weights: an array of shape {table.shape} was given; shape (k,) is needed"
            )
        out = np.empty(() if size is None else shape_of(size), np.int64)
        self._stream.fill_categorical(out.reshape(-1), table)
        return int(out[()]) if size is None else out


def __dir__() -> list[str]:
    return sorted(__all__)
