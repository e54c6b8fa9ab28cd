"""Hostile calls of everything that `fermiac._core` exports, in child processes.

The stubs say what there is and which types the arguments have. Arguments come from calls of the
public functions that are recorded, and otherwise from the types; then each is replaced, one at a
time, by values that nobody should give.

``python hostile.py NAME...`` makes the calls of the functions and classes of these names and
prints, for each exception that is no `Exception`, a line.
"""

from __future__ import annotations

import ast
import contextlib
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from clock import until

import fermiac as fm
from fermiac import _core

STUBS = Path(fm.__file__).parent / "_core"

#: These call the address that they are given, which Python checks before.
ADDRESSES = {"native_density", "native_integrand", "score_native", "TokenLoss.native"}

#: The time of one call; a longer one is interrupted.
SECONDS = 0.02


class Raiser:
    """An object all of whose methods raise."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("hostile")

    __getattr__ = __getitem__ = __iter__ = __len__ = __call__ = __float__ = _raise
    __index__ = __bool__ = __eq__ = __array__ = __contains__ = _raise  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class Function(NamedTuple):
    """A function or a method, with the names and types of its arguments."""

    name: str
    arguments: tuple[tuple[str, str], ...]
    static: bool


def functions() -> Iterator[Function]:
    """Yield what the stubs declare; a constructor has the name ``Class.__new__``."""
    for stub in sorted(STUBS.glob("*.pyi")):
        for node in ast.parse(stub.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield _function(node, "", True)
            elif isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and not _is_property(part):
                        static = any("staticmethod" in ast.unparse(d) for d in part.decorator_list)
                        yield _function(part, f"{node.name}.", static)


def _is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(d) == "property" for d in node.decorator_list)


def _function(node: ast.FunctionDef, prefix: str, static: bool) -> Function:
    arguments = node.args.posonlyargs + node.args.args
    if prefix and not (static and node.name != "__new__"):
        arguments = arguments[1:]  # the class or the object
    typed = ((a.arg, ast.unparse(a.annotation) if a.annotation else "Any") for a in arguments)
    return Function(prefix + node.name, tuple(typed), static)


def plausible(kind: str) -> Any:
    """Return a value of an annotated type."""
    for text, value in (
        ("None", None),
        ("Callable", lambda *given: given[0]),
        ("dict", {}),
        ("list", []),
        ("uint32", np.arange(3, dtype=np.uint32)),
        ("_U", np.arange(3, dtype=np.uint64)),
        ("_I", np.arange(3)),
        ("uint8", np.zeros(3, dtype=np.uint8)),
        ("_F", np.linspace(0.1, 0.9, 3)),
        ("NDArray", np.linspace(0.1, 0.9, 3)),
        ("bool", True),
        ("str", "normal"),
        ("float", 0.5),
        ("int", 3),
    ):
        if text in kind:
            return value
    return None


def hostile(value: Any, few: bool) -> list[Any]:
    """Return what takes the place of a value; `few` of them for arguments far from the front."""
    wrong: list[Any] = [None, "x", Raiser(), -1, 2**64 - 1, float("nan"), [], {}, np.zeros(0)]
    if few:
        return wrong
    wrong += [0, 2**31, 2**62, 2**64, 10**30, float("inf"), -0.5, 1e308, True, b"", (), object()]
    wrong += [np.float64(3), np.array(1.0), np.zeros((2, 0)), np.ones((3, 2), dtype=np.float32)]
    wrong += [np.array([None, 1]), np.array(["a"]), np.full(5, np.nan), np.full((2, 2), np.inf)]
    if isinstance(value, np.ndarray) and value.size:
        flat = np.ascontiguousarray(value)
        wrong += [flat[..., ::2], flat[:1], flat[..., None], np.concatenate([flat, flat])]
        if value.dtype.kind in "iu":
            wrong += [np.full_like(flat, np.iinfo(value.dtype).max), flat[::-1].copy()]
        if value.dtype.kind == "f":
            wrong += [np.full_like(flat, x) for x in (np.nan, np.inf, -1e308, 0.0)]
    if isinstance(value, dict):
        for key in value:
            wrong += [{**value, key: x} for x in (None, "x", -1, 2**62, float("nan"), [])]
            wrong.append({k: v for k, v in value.items() if k != key})
    if isinstance(value, tuple | list) and value:
        for i, part in enumerate(value):
            for x in (None, "x", -1, 2**62, float("nan"), np.zeros(0)):
                changed = list(value)
                changed[i] = x if part is not x else 0
                wrong.append(type(value)(changed) if type(value) in (tuple, list) else changed)
    return wrong


# Valid calls


class Recorder:
    """The first call of every function and class of the module, and the objects they made."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[Any, ...]]] = {}
        self.objects: dict[str, Any] = {}

    def run(self, scenes: Callable[[], list[Callable[[], object]]]) -> None:
        originals = dict(vars(_core))
        for name, value in originals.items():
            if isinstance(value, type) and not issubclass(value, BaseException):
                setattr(_core, name, self._class(name, value))
            elif callable(value) and not name.startswith("_"):
                setattr(_core, name, self._wrapped(name, value))
        try:
            for scene in scenes():
                scene()
        finally:
            for name, value in originals.items():
                setattr(_core, name, value)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            seen = self.calls.setdefault(name, [])
            if not seen and not named:
                seen.append(given)
            made = call(*given, **named)
            for one in (made, *given):
                self.objects.setdefault(type(one).__name__, one)
            return made

        return wrapped

    def _class(self, name: str, real: type) -> type:
        recorder = self

        class Meta(type):
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, real)

            def __call__(cls, *given: Any, **named: Any) -> Any:
                return recorder._wrapped(f"{name}.__new__", real)(*given, **named)

            def __getattr__(cls, attribute: str) -> Any:
                value = getattr(real, attribute)
                return recorder._wrapped(f"{name}.{attribute}", value)

        return Meta(name, (), {})


def scenes() -> list[Callable[[], object]]:
    """Make a few objects, and return short calls of the public functions."""
    laws, score, walks, nested, mcmc = fm.distributions, fm.score, fm.walks, fm.nested, fm.mcmc
    flat = laws.Product([laws.Uniform(-1.0, 1.0)] * 2)
    normal = laws.MultivariateNormal(np.zeros(2), np.eye(2))
    bowl = fm.targets.rosenbrock(1, 2)
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2, 50, 2))
    graph = walks.graphs.barabasi_albert(30, 2, rng=0)
    high, low = rng.normal(1, 1, 40), rng.normal(0, 1, 40)
    mixture = score.GaussianMixture([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [1.0, 1.0])
    key = fm.privacy.ExponentialKey(16, 8, rng=0)
    edges = np.array([[0, 1], [1, 2]])

    ring = walks.Oracle(lambda nodes: [[i - 1, i + 1] for i in nodes])
    points = np.zeros((2, 2))

    def slope(x: Any) -> Any:
        return x[:, 0]

    def chains(kernel: Any) -> Any:
        made = mcmc.sample(bowl, kernel=kernel, n_chains=2, n_draws=20, n_warmup=20, rng=0)
        return made.expect(lambda x: x)

    def points_alive() -> Any:
        made = nested.sample(bowl, flat, n_live=20, rng=0)
        return made.bootstrap(8), made.simulate(8), made.resample(5)

    return [
        lambda: normal.sample(5, rng=0),
        lambda: laws.Normal().cdf([0.5]),
        lambda: [fm.special.gammaln([1.0, 2.0]), fm.special.betainc(1.0, 2.0, [0.1, 0.2])],
        lambda: fm.diagnostics.ess(draws[..., 0]),
        lambda: fm.diagnostics.rhat(draws[..., 0]),
        lambda: fm.diagnostics.psis(rng.normal(size=100)),
        lambda: fm.importance.expect(slope, normal, n=2000, rng=0),
        lambda: fm.importance.expect(fm.targets.powers(2), laws.Normal(), n=2000, rng=0),
        lambda: fm.importance.expect(slope, normal, n=2000, rng=0).save("saved"),
        lambda: fm.load("saved"),
        lambda: fm.importance.evidence(bowl, normal, n=5000, rng=0),
        *(partial(chains, kernel) for kernel in ("nuts", "hmc", "rwm", "slice", "mclmc")),
        lambda: mcmc.RowGenerator(0, 3).normal(),
        lambda: fm.targets.transformed(bowl, {0: "log"}).log_density(points),
        points_alive,
        lambda: fm.privacy.epsilon_posterior(20, 5, 5, 20, delta=1e-5).quantile(0.5),
        lambda: fm.privacy.epsilon_interval(20, 5, 5, 20, delta=1e-5),
        lambda: fm.privacy.epsilon_of_rates(0.1, 0.1, delta=1e-5),
        lambda: fm.privacy.roc(high, low).bootstrap(n=8),
        lambda: fm.privacy.audit_scores(high, low, threshold="band", delta=1e-5),
        lambda: fm.privacy.audit_one_run(50, 30, 25, delta=1e-5),
        lambda: fm.privacy.detect_watermark(np.arange(8), key, n_null=4, rng=0),
        lambda: fm.privacy.InverseTransformKey(16, 8, rng=0),
        lambda: fm.resample.bootstrap(high, n_resamples=20, rng=0).interval(0.9, "bca"),
        lambda: fm.resample.bootstrap((high, low), "auc", n_resamples=20, rng=0).extend(5),
        lambda: fm.resample.jackknife(high, "median"),
        lambda: fm.resample.permutation_test((high, low), n_resamples=20, rng=0),
        lambda: fm.privacy.gdp_epsilon(1e-5, mu=1.0),
        lambda: score.sample(mixture, 4, dim=2, n_steps=4, sigma_range=(0.1, 10.0), rng=0),
        lambda: score.Adaptive(rtol=1e-2).solve(mixture, points, [4.0, 0.5]),
        lambda: mixture.log_density(points, 0.5),
        lambda: score.langevin_gibbs(mixture, dim=2, n_chains=2, n_draws=4, n_warmup=4, rng=0),
        lambda: score.stepper(mixture, points, score.karras(4, 0.1, 10.0), rng=0).step(),
        lambda: score.log_likelihood(mixture, points, (0.1, 4.0), rtol=1e-2),
        lambda: [score.karras(4, 0.1, 10.0), score.poly_t(4, 0.1, 10.0)],
        lambda: score.first_hitting(lambda t, _: np.zeros((*t.shape, 2)), 3, 4, n_tokens=2, rng=0),
        lambda: walks.walk(graph, n_steps=20, n_walkers=2, rng=0),
        lambda: walks.walk(graph, n_steps=20, kernel="none", n_walkers=2, rng=0),
        lambda: walks.Crawler(ring, init=0, rng=0).run(20),
        lambda: walks.optimize(walks.Quadratic(1.0, np.arange(30.0)), graph, n_steps=20, rng=0),
        lambda: walks.graphs.barabasi_albert(20, 2, rng=0),
        lambda: walks.graphs.watts_strogatz(20, 4, 0.1, rng=0),
        lambda: walks.graphs.random_regular(20, 3, rng=0),
        lambda: walks.graphs.erdos_renyi(20, 30, rng=0),
        lambda: walks.graphs.rmat(4, rng=0),
        lambda: walks.graphs.stochastic_block([5, 5], [[0.5, 0.1], [0.1, 0.5]], rng=0),
        lambda: [walks.Graph.from_edges(edges).components, walks.Graph.from_edges(edges).strengths],
        lambda: walks.write_csr("folder", [edges]),
    ]


# Calls


def calls(function: Function, recorder: Recorder) -> Iterator[tuple[Any, ...]]:
    """Yield valid or plausible arguments of a function, and those with one replaced."""
    valid = recorder.calls.get(function.name, [])
    if not valid:
        valid = [tuple(plausible(kind) for _, kind in function.arguments)]
    for base in valid:
        yield base
        yield base[:-1]
        for i, value in enumerate(base):
            for wrong in hostile(value, few=i > 6):
                yield (*base[:i], wrong, *base[i + 1 :])


def target_of(function: Function, recorder: Recorder) -> Callable[..., Any] | None:
    """Return what is called, None if no object of the class is at hand."""
    owner, _, name = function.name.rpartition(".")
    if not owner:
        return getattr(_core, name)  # type: ignore[no-any-return]
    if name == "__new__":
        return getattr(_core, owner)  # type: ignore[no-any-return]
    place = getattr(_core, owner) if function.static else recorder.objects.get(owner)
    return None if place is None else getattr(place, name)


class Late(Exception):
    """A call was interrupted."""


def _interrupt(*_: Any) -> None:
    raise Late


def attack(function: Function, recorder: Recorder) -> Iterator[str]:
    """Yield what the calls of a function raised that is no `Exception`."""
    target = target_of(function, recorder)
    if target is None:
        return
    for given in calls(function, recorder):
        error = None
        with contextlib.suppress(Late):  # it may come a moment after the call
            error = _raised(target, given)
        if error is not None:
            yield f"{function.name}{_shown(given)}: {type(error).__name__}: {error}"


def _raised(target: Callable[..., Any], given: tuple[Any, ...]) -> BaseException | None:
    try:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        target(*given)
    except Exception:
        pass
    except BaseException as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _shown(given: tuple[Any, ...]) -> str:
    return f"({', '.join('Raiser()' if isinstance(x, Raiser) else f'{x!r:.40}' for x in given)})"


def main(names: list[str]) -> None:
    """Attack the functions of these names, each in a child process, and print what was found."""
    warnings.simplefilter("ignore")
    fm.set_num_threads(1)
    os.chdir(tempfile.mkdtemp())
    recorder = Recorder()
    recorder.run(scenes)
    n_reached = 0
    for function in functions():
        if function.name in ADDRESSES or (names and function.name not in names):
            continue
        n_reached += target_of(function, recorder) is not None
        pid = os.fork()
        if pid == 0:
            resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the messages of panics
            signal.signal(signal.SIGALRM, _interrupt)
            for line in attack(function, recorder):
                print(line, flush=True)
            os._exit(0)
        status = _waited(pid)
        if status:
            print(f"{function.name}: ended by {status}", flush=True)
    print(f"{n_reached} functions", flush=True)


def _waited(pid: int) -> str:
    """Return how a child ended if not by itself; one that hangs is ended."""
    ended = 0, 0

    def ends() -> int:
        nonlocal ended
        ended = os.waitpid(pid, os.WNOHANG)
        return ended[0]

    try:
        until(ends, "the end of the child")
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "its time limit"
    return f"signal {os.WTERMSIG(ended[1])}" if os.WIFSIGNALED(ended[1]) else ""


if __name__ == "__main__":
    main(sys.argv[1:])
