"""Public callables of a package, and valid calls of them, recorded from its docstring examples.

The examples run once, with every public function, constructor and method wrapped. Each call is kept
with its arguments, and the objects that the examples made are kept as receivers of methods. A new
function is therefore covered as soon as its docstring has an example. A callable without one takes
its arguments by the names of its parameters from the calls of others.
"""

from __future__ import annotations

import doctest
import functools
import importlib
import inspect
import io
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Corpus", "Entry", "Recorded", "corpus_of", "fresh"]

#: Recorded calls kept for one callable, values for one name of a parameter, objects of one class.
_CALLS, _VALUES, _OBJECTS = 6, 8, 3

#: Bytes beyond which an array is not copied.
_LARGE = 2**26

#: Special methods that users reach by operators and functions.
_SPECIAL = (
    "__add__",
    "__call__",
    "__contains__",
    "__eq__",
    "__getitem__",
    "__mul__",
    "__rmul__",
    "__sub__",
)


@dataclass
class Recorded:
    """Arguments of one valid call by the names of its parameters, and the receiver of a method."""

    owner: Any
    arguments: dict[str, Any]


@dataclass
class Entry:
    """A public callable: a function, a constructor, or a method, which needs a receiver."""

    name: str
    parameters: list[inspect.Parameter]
    function: Callable[..., Any] | None
    attribute: str = ""
    #: Whether its docstring has a section of parameters, or an example calls it: what a user calls.
    documented: bool = False
    calls: list[Recorded] = field(default_factory=list)

    def bound(self, owner: Any) -> Callable[..., Any]:
        """The callable itself, for a method that of its receiver."""
        return getattr(owner, self.attribute) if self.function is None else self.function

    @property
    def class_name(self) -> str:
        """The public name of the class of a method."""
        return self.name.rpartition(".")[0]


@dataclass
class Corpus:
    """All entries of a package, with valid values by the names of parameters, and objects."""

    entries: dict[str, Entry]
    values: dict[str, list[Any]]
    objects: dict[str, list[Any]]
    examples: int
    failed: int

    def callable_entries(self) -> list[Entry]:
        """The entries that can be called: methods need an object of their class."""
        return [
            entry
            for entry in self.entries.values()
            if entry.function is not None or entry.calls or self.objects.get(entry.class_name)
        ]


def fresh(value: Any) -> Any:
    """A copy of a recorded value where a call may change it, else the value itself."""
    if type(value) is np.ndarray and value.nbytes > _LARGE:
        return value  # a hostile one, which takes no memory as long as it isn't copied
    if type(value) in (np.ndarray, list, dict, set):
        return value.copy()
    return value


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _public_modules(package: types.ModuleType) -> list[types.ModuleType]:
    found = [package]
    for module in found:
        for value in (getattr(module, name) for name in _names(module)):
            inside = inspect.ismodule(value) and value.__name__.startswith(package.__name__ + ".")
            if inside and value not in found:
                found.append(value)
    return found


def _names(module: types.ModuleType) -> list[str]:
    return list(getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")]))


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _documented(value: Any) -> bool:
    return "Parameters\n---" in (inspect.getdoc(value) or "")


class _Recorder:
    """The entries of a package, and the wrappers that record calls of them."""

    def __init__(self, package: types.ModuleType) -> None:
        self.package = package.__name__
        self.entries: dict[str, Entry] = {}
        self.classes: dict[type, str] = {}
        self.objects: dict[str, list[Any]] = {}
        self._undo: list[tuple[Any, str, Any]] = []
        self._wrappers: dict[int, Callable[..., Any]] = {}
        seen: set[int] = set()
        for module in _public_modules(package):
            for name in _names(module):
                value = getattr(module, name)
                if isinstance(value, type):
                    self.add_class(f"{module.__name__}.{name}", value)
                elif callable(value) and id(value) not in seen:
                    seen.add(id(value))
                    parameters = _parameters(value)
                    if parameters:
                        path = f"{module.__name__}.{name}"
                        self.entries[path] = Entry(path, parameters, value, documented=True)

    def add_class(self, name: str, cls: type) -> None:
        """Register the constructor and the methods of a class."""
        if cls in self.classes or cls.__module__.partition(".")[0] != self.package:
            return
        self.classes[cls] = name
        if issubclass(cls, BaseException):
            return
        parameters = _parameters(cls)
        if parameters:
            self.entries[name] = Entry(name, parameters, cls, documented=_documented(cls))
        for attribute in dir(cls):
            if attribute.startswith("_") and attribute not in _SPECIAL:
                continue
            raw = inspect.getattr_static(cls, attribute)
            path = f"{name}.{attribute}"
            if isinstance(raw, (classmethod, staticmethod)):
                function = getattr(cls, attribute)
                entry = Entry(path, _parameters(function) or [], function)
            elif inspect.isfunction(raw):
                entry = Entry(path, (_parameters(raw) or [])[1:], None, attribute)
            else:
                continue
            if entry.parameters:
                entry.documented = _documented(getattr(cls, attribute))
                self.entries[path] = entry

    def keep(self, value: Any) -> None:
        """Keep an object as the receiver of methods, if its class is public."""
        cls = type(value)
        path = f"{cls.__module__}.{cls.__qualname__}"
        if cls.__module__.partition(".")[0] != self.package or not _is_public(path):
            return
        self.add_class(path, cls)
        kept = self.objects.setdefault(self.classes[cls], [])
        if len(kept) < _OBJECTS and not any(value is other for other in kept):
            kept.append(value)

    def _keep_call(self, entry: Entry | None, owner: Any, args: Any, kwargs: Any) -> None:
        if entry is None:
            return
        caller = sys._getframe(2).f_code.co_filename
        entry.documented = entry.documented or caller.startswith("<doctest")
        if len(entry.calls) >= _CALLS:
            return
        signature = inspect.Signature(entry.parameters)
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return
        copies = {name: fresh(value) for name, value in given.items()}
        entry.calls.append(Recorded(owner, copies))

    def _wrap_function(self, entry: Entry, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._keep_call(entry, None, args, kwargs)
            return function(*args, **kwargs)

        return recorded

    def _wrap_method(self, attribute: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if args:
                owner = args[0]
                cls = owner if isinstance(owner, type) else type(owner)
                # A call of a base class by super() has other arguments than its caller's.
                outer = inspect.getattr_static(cls, attribute, None)
                name = self.classes.get(cls)
                if name is not None and getattr(outer, "__func__", outer) is recorded:
                    path = name if attribute == "__init__" else f"{name}.{attribute}"
                    receiver = None if attribute == "__init__" or owner is cls else owner
                    self._keep_call(self.entries.get(path), receiver, args[1:], kwargs)
            return function(*args, **kwargs)

        return recorded

    def _replace(self, holder: Any, name: str, value: Any) -> None:
        self._undo.append((holder, name, vars(holder)[name]))
        setattr(holder, name, value)

    def __enter__(self) -> None:
        modules = [
            module
            for name, module in list(sys.modules.items())
            if module is not None and name.partition(".")[0] == self.package
        ]
        self._wrappers = wrappers = {
            id(entry.function): self._wrap_function(entry, entry.function)
            for entry in self.entries.values()
            if isinstance(entry.function, types.FunctionType)
        }
        for module in modules:
            for name, value in list(vars(module).items()):
                if id(value) in wrappers:
                    self._replace(module, name, wrappers[id(value)])
        for cls in {base for known in self.classes for base in known.__mro__}:
            if cls.__module__.partition(".")[0] != self.package:
                continue
            for name, value in list(vars(cls).items()):
                if name.startswith("_") and name not in (*_SPECIAL, "__init__"):
                    continue
                if inspect.isfunction(value):
                    self._replace(cls, name, self._wrap_method(name, value))
                elif isinstance(value, classmethod):
                    wrapped = self._wrap_method(name, value.__func__)
                    self._replace(cls, name, classmethod(wrapped))

    def wrap_names(self, names: dict[str, Any]) -> None:
        """Put the wrappers into the names of an example, which were copied before."""
        names |= {k: self._wrappers[id(v)] for k, v in names.items() if id(v) in self._wrappers}

    def __exit__(self, *_: object) -> None:
        for holder, name, value in reversed(self._undo):
            setattr(holder, name, value)


def _examples(package: types.ModuleType) -> list[doctest.DocTest]:
    path = getattr(package, "__path__", [])
    inner = [m.name for m in pkgutil.walk_packages(path, package.__name__ + ".")]
    found = []
    for name in [package.__name__, *inner]:
        if name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # it needs an optional dependency
        found += [test for test in doctest.DocTestFinder().find(module) if test.examples]
    return found


def corpus_of(package: types.ModuleType) -> Corpus:
    """Run the examples of a package, and return its entries with the calls that were recorded."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed = 0
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        tests = _examples(package)
        recorder = _Recorder(package)
        with recorder:
            for test in tests:
                recorder.wrap_names(test.globs)
                runner = doctest.DocTestRunner(optionflags=options, verbose=False)
                failed += runner.run(test, out=lambda _: None, clear_globs=False).failed > 0
                for value in list(test.globs.values()):
                    recorder.keep(value)
    values: dict[str, list[Any]] = {}
    entries = dict(sorted(recorder.entries.items()))
    for entry in entries.values():
        for call in entry.calls:
            for name, value in call.arguments.items():
                kept = values.setdefault(name, [])
                if value is not None and len(kept) < _VALUES:
                    kept.append(value)
    return Corpus(entries, values, recorder.objects, len(tests), failed)
