"""Hostile values, as Python expressions, so that a report can print what a call was given.

`expressions` lists them for one valid value, which they call V. `evaluate` makes the value. Objects
and functions of this module raise `Planted`, which stands for a user's own exception: a call should
let it pass.
"""

from __future__ import annotations

import datetime
import fractions
import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "ENDLESS",
    "Planted",
    "ReadForEver",
    "evaluate",
    "expressions",
    "is_lossy",
    "times_called",
]

#: Items after which an endless iterable gives up.
ENDLESS = 2_000_000


class Planted(Exception):
    """A user's own exception."""


class ReadForEver(BaseException):
    """An endless iterable was iterated to `ENDLESS` items."""


#: Counts the calls of functions whose values are hostile.
_called = itertools.count()


def times_called() -> int:
    """How often functions of this module have been called; asking counts once, too."""
    return next(_called)


def endless() -> Iterator[float]:
    """An iterator that ends only by `ReadForEver`."""
    for i in range(ENDLESS):
        yield float(i)
    raise ReadForEver


def failing_iterator() -> Iterator[float]:
    """An iterator that raises at its second item."""
    yield 1.0
    raise Planted("in an iterator")


def recursive() -> list[Any]:
    """A list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    """A list in lists."""
    value: list[Any] = [1.0]
    for _ in range(depth):
        value = [value]
    return value


def unaligned(value: Any = 1.0) -> np.ndarray[Any, Any]:
    """A copy whose memory is not aligned."""
    array = np.atleast_1d(np.asarray(value))
    memory = np.zeros(array.nbytes + 1, dtype=np.uint8)
    out = memory[1:].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def read_only(value: Any) -> np.ndarray[Any, Any]:
    """A copy that can't be written."""
    array = np.array(value)
    array.flags.writeable = False
    return array


def strided(value: Any) -> np.ndarray[Any, Any]:
    """A copy of which every second item of a larger array is used."""
    array = np.asarray(value)
    return np.repeat(array, 2, axis=-1)[..., ::2]


def structured(value: Any = (1.0, 2.0)) -> np.ndarray[Any, Any]:
    """A structured array with one field."""
    array = np.asarray(value)
    return array.astype([("x", array.dtype)])


class Own:
    """A class of the user's, which may be called like a function."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise Planted("in a class")


def with_item(value: Any, item: Any) -> Any:
    """A copy whose first number is another."""
    array = np.array(value)
    array.reshape(-1)[:1] = item
    return array


def _raises(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise Planted(name)

    return method


def broken(*names: str) -> Any:
    """An object whose special methods of these names raise."""
    return type("Broken", (), {name: _raises(name) for name in names})()


def lying(**values: Any) -> Any:
    """An object whose special methods return these values."""
    methods = {name: (lambda self, *a, _v=value, **k: _v) for name, value in values.items()}
    return type("Lying", (), methods)()


def returning(value: Any) -> Callable[..., Any]:
    """A function that returns one thing whatever it is given."""

    def function(*args: Any, **kwargs: Any) -> Any:
        next(_called)
        return value

    return function


def calling(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, in a frame that is the user's."""
    return lambda *args, **kwargs: function(*args, **kwargs)


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises."""

    def function(*args: Any, **kwargs: Any) -> Any:
        raise error

    return function


def after(calls: int, function: Any, then: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is another one after some calls."""
    counter = itertools.count()

    def switched(*args: Any, **kwargs: Any) -> Any:
        return (function if next(counter) < calls else then)(*args, **kwargs)

    return switched


def mapped(function: Any, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function whose values are changed."""

    def changed(*args: Any, **kwargs: Any) -> Any:
        next(_called)
        return change(function(*args, **kwargs))

    return changed


def scribbling(function: Any) -> Callable[..., Any]:
    """A function that overwrites the arrays that it was given."""

    def scribble(*args: Any, **kwargs: Any) -> Any:
        out = function(*args, **kwargs)
        for value in args:
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = 0
        return out

    return scribble


def _split(text: str) -> list[str]:
    return [expression for expression in text.replace("\n", "|").split("|") if expression]


_NUMBERS = _split("""
None|True|0|-1|1|2|3|17|10**6|10**9|2**31|2**63-1|2**63|2**64|-2**63|10**13|10**18|10**400|0.0
-0.0|0.5|1.5|-1.5|1e-320|1e19|1e300|np.nan|np.inf|-np.inf|Decimal('0.1')
fractions.Fraction(1, 3)|np.float32(0.5)|np.int8(3)|np.uint64(2**64-1)|np.longdouble(1)/3
np.bool_(True)
""")

_LOSSY = _split("""
1+2j|np.array([1+2j, 3])|[1+1j, 2.0]|np.array(['2020-01-01', 'NaT'], 'M8[D]')
np.timedelta64(5, 's')|np.datetime64('2020-01-01')|datetime.datetime(2020, 1, 1)
np.array([5, 6], 'm8[s]')|structured()|np.array([(1, 2.0)], dtype='i4,f8')
np.array([1+2j, 3], dtype=object)
""")

_OBJECTS = _split("""
''|'no such thing'|'\\0'|'x'*10000|b'bytes'|'nan'|'1'|object()|Own|np.dtype('f8')|Ellipsis
NotImplemented|np|[]|()|{}|set()|{1, 2}|{'a': 1}|{0: 1.0}|[None]|[1, [2, 3]]|[[1, 2], [3]]
recursive()|nested(3)|nested(3000)|['a', 'b']|['a', 'a']|[np.nan]|[1, 'a']|range(5)|iter([])
(i for i in range(3))|endless()|failing_iterator()|map(float, 'x')|Path('missing/file')
Path('.')|'missing/file'|'.'|''|broken('__float__', '__index__', '__int__')|broken('__array__')
broken('__repr__', '__str__')|broken('__len__')|broken('__iter__')|broken('__eq__', '__hash__')
broken('__bool__')|broken('__call__')|broken('__fspath__')|broken('__getattr__')
broken('__getattribute__')|broken('__array_interface__')|broken('__dlpack__')
broken('__getitem__', '__len__')|lying(__len__=-1)|lying(__len__=10**18)|lying(__float__='x')
lying(__index__=1.5)|lying(__array__='x')|lying(__array__=None)|lying(__iter__=3)
lying(__fspath__=3)
lying(__array_interface__={'shape': (2**60,), 'typestr': '<f8', 'version': 3})|lying(__repr__=3)
lying(__bool__=3)|lying(__len__=3)|lying(__call__=None)
""")

_ARRAYS = _split("""
np.zeros(0)|np.zeros((0, 3))|np.zeros((3, 0))|np.array(1.0)|np.array(None)|np.ones((2, 2, 2))
np.ones((1,) * 32)|np.array([1, np.nan])|np.array([np.inf, 1])|np.array(['a', 'b'])
np.array([b'a'])|np.array([{}, []], dtype=object)|np.array([None, 1.0])|unaligned(np.ones(3))
read_only(np.ones(3))|np.ones(3)[::-1]|np.ones((3, 3)).T[1:, ::2]|np.ones(3, '>f8')
np.ones(3, 'f2')|np.ones(3, 'g')|np.ma.masked_array([1.0, 2.0], [True, False])
np.matrix([[1.0, 2.0]])|np.zeros(3, 'i1')|np.full(3, 2**64-1, dtype=np.uint64)
np.full(3, -2**63)|np.broadcast_to(1.0, (10**10,))|np.broadcast_to(1.0, (10**5, 10**5))
np.ones((4, 1))|np.ones((1, 4))|np.array([True, False])|np.zeros(2, 'V8')
np.recarray((2,), dtype=[('x', float)])|np.eye(2)|-np.eye(2)|np.zeros((2, 2))
np.full((2, 2), 1e308)|memoryview(b'12345678')|bytearray(8)
""")

_FUNCTIONS = _split("""
raising(Planted('in a callback'))|raising(KeyboardInterrupt())|raising(StopIteration())
raising(SystemExit(3))|raising(GeneratorExit())|raising(MemoryError())|returning(None)
returning('text')|returning(np.nan)|returning(np.inf)|returning(0.0)|returning(10**400)
returning([])|returning(np.zeros(0))|returning(np.zeros((3, 3, 3)))|returning(recursive())
returning(endless())|returning((1, 2))|returning(np.array(['a']))|returning(np.array([None]))
returning(object())|returning(broken('__array__'))|returning(broken('__float__', '__repr__'))
returning(np.broadcast_to(1.0, (10**10,)))|returning(True)|lambda: 0.0|lambda x, y, z, w, v: 0.0
lambda *a: a|lambda *a, **k: a and a[0]|calling(len)|calling(np.sum)|calling(np.sort)
calling(str)|calling(iter)
""")

#: Functions whose values are lossy.
_LOSSY_FUNCTIONS = _split("""
returning(1+2j)|returning(np.datetime64('2020-01-01'))|returning(structured())
""")

#: The changes of a valid value, by its kind.
_OF_ARRAYS = _split("""
V.T|V[:0]|V[:1]|V[:-1]|V[::-1]|V[None]|V[..., None]|V.reshape(-1)|V.ravel()[0]|V.tolist()|-V
V * 0|V * 1e308 * 10|V * np.nan|with_item(V, np.nan)|with_item(V, np.inf)|with_item(V, -1)
with_item(V, 2**31)|unaligned(V)|read_only(V)|strided(V)|np.asfortranarray(V)|V.astype('>f8')
V.astype('f4')|V.astype('i8')|V.astype(bool)|V.astype(object)|V.astype(str)
np.concatenate([V, V])|np.repeat(V, 2, axis=-1)|V.astype('g')|np.ma.masked_array(V, V == V)
iter(V)|list(V)|tuple(V)|V.astype('u8')|V + 0.5|V * 2**40|V.view('V1')
np.broadcast_to(V[..., None], (*V.shape, 10**7))
""")
_LOSSY_ARRAYS = _split("""
V * (1 + 1j)|structured(V)|V.astype('M8[s]')|V.astype('m8[s]')
V.astype(complex).astype(object) * 1j
""")
_OF_NUMBERS = _split("""
-V|V + 0.5|V * 10**6|V * 10**12|str(V)|[V]|[V, V]|np.array(V)|np.array([V])|np.array([[V]])
""")
_LOSSY_NUMBERS = _split("""
V * (1 + 2j)|np.array(V * (1 + 1j))|np.timedelta64(int(V), 's')
""")
_OF_STRINGS = _split("""
V.upper()|V + 'x'|V[:1]|V.encode()|[V]|(V, V)|{V: V}|Path(V)|np.str_(V)|np.array(V)|V + '\\0'
int
""")
_OF_SEQUENCES = _split("""
V[:0]|V[:1]|V[:-1]|V + V|V[::-1]|[V]|[V, V]|iter(V)|(v for v in V)|list(V) + [None]
list(V) + [1+1j]|list(V) + [V]|set(map(str, V))|np.array(V, dtype=object)|[str(v) for v in V]
list(V) * 1000|dict(enumerate(V))
""")
_OF_FUNCTIONS = _split("""
after(1, V, raising(Planted('later')))|after(1, V, returning(None))
after(2, V, returning(np.nan))|mapped(V, lambda y: y[:-1])|mapped(V, lambda y: y[:, None])
mapped(V, list)|mapped(V, lambda y: y * np.nan)|mapped(V, lambda y: -np.inf * np.ones_like(y))
mapped(V, lambda y: y.astype(object))|mapped(V, str)|mapped(V, lambda y: y.astype('f4'))
mapped(V, read_only)|mapped(V, unaligned)|mapped(V, strided)
mapped(V, lambda y: np.broadcast_to(0.0, (10**10,)))|mapped(V, iter)|scribbling(V)|[V]|[V, V]
(V, 1)|mapped(V, lambda y: None)|mapped(V, lambda y: (y, y))|mapped(V, lambda y: y.T)
""")
_LOSSY_VALUES = _split("""
mapped(V, lambda y: y * (1 + 1j))|mapped(V, lambda y: y.astype('M8[s]'))|mapped(V, structured)
""")
_OF_OBJECTS = _split("""
[V]|[V, V]|(V,)|{'a': V}|type(V)|str(V)|(V, None)|iter([V])|broken('__getattr__')|np.array(V)
""")


def _joined(*groups: list[str]) -> list[str]:
    return [text for group in groups for text in group]


_COMMON = _joined(_NUMBERS, _LOSSY, _OBJECTS, _ARRAYS, _FUNCTIONS)
_ALL_LOSSY = set(_joined(_LOSSY, _LOSSY_ARRAYS, _LOSSY_NUMBERS, _LOSSY_FUNCTIONS, _LOSSY_VALUES))


def expressions(value: Any) -> tuple[list[str], list[str]]:
    """Expressions of hostile values: any, and those made from a valid value, called V."""
    if isinstance(value, np.ndarray):
        return _COMMON, _joined(_OF_ARRAYS, _LOSSY_ARRAYS)
    if isinstance(value, (int, float, np.number)):
        return _COMMON, _joined(_NUMBERS, _OF_NUMBERS, _LOSSY_NUMBERS)
    if isinstance(value, str):
        return _COMMON, _OF_STRINGS
    if isinstance(value, (list, tuple)):
        return _COMMON, _OF_SEQUENCES
    if callable(value) and not isinstance(value, type):
        return _COMMON, _joined(_FUNCTIONS, _OF_FUNCTIONS, _LOSSY_FUNCTIONS, _LOSSY_VALUES)
    if value is None:
        return _COMMON, _COMMON
    return _COMMON, _OF_OBJECTS


def is_lossy(expression: str) -> bool:
    """Whether a call that takes this for numbers must drop a part of it."""
    return expression in _ALL_LOSSY


_NAMESPACE = {
    **{name: value for name, value in globals().items() if not name.startswith("_")},
    "Decimal": Decimal,
    "Path": Path,
    "datetime": datetime,
    "fractions": fractions,
}


def evaluate(expression: str, valid: Any) -> Any:
    """The value of an expression, where V is the valid value."""
    return eval(expression, {**_NAMESPACE, "V": valid})
