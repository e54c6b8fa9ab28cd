"""Benchmark likelihoods with known evidences for nested samplers.

`problem(name)` returns one of `PROBLEMS`. Reference values come from quadrature or closed forms in
``exact.py``; ``python -m benches.nested.exact`` recomputes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from benches.nested.problem import Array, Problem

LOG_2PI = math.log(2.0 * math.pi)


def _box(dim: int, low: float, high: float) -> tuple[Array, Array]:
    return np.full(dim, low), np.full(dim, high)


def gauss(dim: int) -> Problem:
    """A normal law with correlations of 0.4, its centre from -1 to 1."""
    centre = np.linspace(-1.0, 1.0, dim)
    shrink = 0.4 / (0.6 + 0.4 * dim)  # the inverse of 0.6 I + 0.4 J is (I - shrink J) / 0.6
    log_det = (dim - 1) * math.log(0.6) + math.log(0.6 + 0.4 * dim)
    log_norm = 0.5 * (dim * LOG_2PI + log_det)

    def values(x: Array) -> Array:
        y = x - centre
        out: Array = (np.einsum("ij,ij->i", y, y) - shrink * y.sum(axis=1) ** 2) / -1.2 - log_norm
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        squares, total = 0.0, 0.0
        for j in range(dim):
            y = x[j] - centre[j]
            squares += y * y
            total += y
        return (squares - shrink * total * total) / -1.2 - log_norm

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            y = x - jnp.asarray(centre)
            return (y @ y - shrink * y.sum() ** 2) / -1.2 - log_norm

        return f

    def builtin() -> Any:
        import fermiac as fm

        cov = 0.6 * np.eye(dim) + 0.4
        return fm.targets.law_density(fm.distributions.MultivariateNormal(centre, cov))

    return Problem(
        f"gauss {dim}",
        *_box(dim, -10.0, 10.0),
        values,
        scalar,
        -dim * math.log(20.0),
        centre,
        jax=jax,
        builtin=builtin,
    )


def eggbox() -> Problem:
    """Eighteen peaks alike, after Feroz, Hobson and Bridges (2009)."""

    def values(x: Array) -> Array:
        out: Array = (2.0 + np.cos(0.5 * x[:, 0]) * np.cos(0.5 * x[:, 1])) ** 5
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        return (2.0 + math.cos(0.5 * x[0]) * math.cos(0.5 * x[1])) ** 5

    return Problem(
        "eggbox",
        *_box(2, 0.0, 10.0 * math.pi),
        values,
        scalar,
        235.8559403323,
        np.full(2, 5.0 * math.pi),
    )


SHELL = 2.0, 0.1, 3.5  # radius, width, distance of the centres from the origin


def shells(dim: int) -> Problem:
    """Two thin shells, after Feroz, Hobson and Bridges (2009)."""
    radius, width, apart = SHELL
    log_norm = 0.5 * LOG_2PI + math.log(width)

    def values(x: Array) -> Array:
        rest = np.einsum("ij,ij->i", x[:, 1:], x[:, 1:])
        one = (np.sqrt((x[:, 0] - apart) ** 2 + rest) - radius) / width
        other = (np.sqrt((x[:, 0] + apart) ** 2 + rest) - radius) / width
        out: Array = np.logaddexp(-0.5 * one * one, -0.5 * other * other) - log_norm
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        rest = 0.0
        for j in range(1, dim):
            rest += x[j] * x[j]
        one = (math.sqrt((x[0] - apart) ** 2 + rest) - radius) / width
        other = (math.sqrt((x[0] + apart) ** 2 + rest) - radius) / width
        near, far = -0.5 * min(one * one, other * other), -0.5 * max(one * one, other * other)
        return near + math.log1p(math.exp(far - near)) - log_norm

    exact = {2: -1.7456418720, 10: -14.5904910744}
    return Problem(
        f"shells {dim}", *_box(dim, -6.0, 6.0), values, scalar, exact[dim], np.zeros(dim)
    )


VALLEY_MEANS = {
    2: [0.9361838156, 1.2933493097],
    10: [
        *[0.9178043276, 0.9358082376, 0.9035780661, 0.8600140230, 0.8034725111],
        *[0.7337940416, 0.6541535286, 0.5746729005, 0.5201993443, 0.5575893606],
    ],
}


def rosenbrock(dim: int) -> Problem:
    """A curved and narrow valley."""

    def values(x: Array) -> Array:
        bent, short = x[:, 1:] - x[:, :-1] ** 2, 1.0 - x[:, :-1]
        out: Array = -100.0 * np.einsum("ij,ij->i", bent, bent)
        return out - np.einsum("ij,ij->i", short, short)

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(dim - 1):
            bent, short = x[j + 1] - x[j] * x[j], 1.0 - x[j]
            total -= 100.0 * bent * bent + short * short
        return total

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            bent, short = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
            return -100.0 * jnp.sum(bent * bent) - jnp.sum(short * short)

        return f

    exact = {2: -5.8041323638, 10: -43.1083552147}
    means = np.array(VALLEY_MEANS[dim])
    box = _box(dim, -5.0, 5.0)
    return Problem(f"rosenbrock {dim}", *box, values, scalar, exact[dim], means, jax=jax)


def _normals(
    name: str, parts: list[tuple[float, float, float]], low: Array, high: Array, log_evidence: float
) -> Problem:
    """A mixture of two normal laws: for each its share, its centre on the diagonal and its sd."""
    dim = len(low)
    (share_a, at_a, sd_a), (share_b, at_b, sd_b) = parts
    log_a, log_b = (
        math.log(share) - 0.5 * dim * LOG_2PI - dim * math.log(sd) for share, _, sd in parts
    )

    def values(x: Array) -> Array:
        a, b = (x - at_a) / sd_a, (x - at_b) / sd_b
        of_a = log_a - 0.5 * np.einsum("ij,ij->i", a, a)
        out: Array = np.logaddexp(of_a, log_b - 0.5 * np.einsum("ij,ij->i", b, b))
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        of_a, of_b = log_a, log_b
        for j in range(dim):
            a, b = (x[j] - at_a) / sd_a, (x[j] - at_b) / sd_b
            of_a -= 0.5 * a * a
            of_b -= 0.5 * b * b
        return max(of_a, of_b) + math.log1p(math.exp(-abs(of_a - of_b)))

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            a, b = (x - at_a) / sd_a, (x - at_b) / sd_b
            return jnp.logaddexp(log_a - 0.5 * (a @ a), log_b - 0.5 * (b @ b))

        return f

    def builtin() -> Any:
        import fermiac as fm

        laws = [
            fm.distributions.MultivariateNormal(np.full(dim, at), sd * sd * np.eye(dim))
            for _, at, sd in parts
        ]
        shares = [share_a, share_b]
        return fm.targets.law_density(fm.distributions.Mixture(shares, laws))

    mean = np.full(dim, share_a * at_a + share_b * at_b)
    return Problem(name, low, high, values, scalar, log_evidence, mean, jax=jax, builtin=builtin)


def mix() -> Problem:
    """Two normal laws far apart, with 0.7 and 0.3 of the mass."""
    exact = -10.0 * math.log(20.0)
    return _normals("mix 10", [(0.7, 3.0, 0.5), (0.3, -3.0, 0.5)], *_box(10, -10.0, 10.0), exact)


def spike_and_slab() -> Problem:
    """A narrow law with 100 times the mass of a wide one, after Skilling (2006).

    Samplers that stop by their live points stop on the slab unless they are told to be patient.
    """
    parts = [(100.0 / 101.0, 0.031, 0.01), (1.0 / 101.0, 0.0, 0.1)]
    return _normals("spike and slab 20", parts, *_box(20, -0.5, 0.5), -1.1352476e-07)


def loggamma(dim: int = 10) -> Problem:
    """Four modes with heavy tails, after Beaujean and Caldwell (2013)."""
    log_norm = -0.5 * LOG_2PI
    half = dim // 2
    flat = dim * math.log(30.0) + half * log_norm - 2.0 * math.log(2.0)

    def tail(z: Array) -> Array:
        out: Array = z - np.exp(z)
        return out

    def values(x: Array) -> Array:
        low, high = 30.0 * x - 10.0, 30.0 * x - 20.0
        out: Array = np.logaddexp(tail(low[:, 0]), tail(high[:, 0]))
        out += np.logaddexp(-0.5 * low[:, 1] ** 2, -0.5 * high[:, 1] ** 2)
        bent, straight = high[:, 2 : half + 1], high[:, half + 1 :]
        out += tail(bent).sum(axis=1) - 0.5 * (straight**2).sum(axis=1)
        out += flat
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        low, high = 30.0 * x[0] - 10.0, 30.0 * x[0] - 20.0
        a, b = low - math.exp(low), high - math.exp(high)
        total = max(a, b) + math.log1p(math.exp(-abs(a - b)))
        a, b = -0.5 * (30.0 * x[1] - 10.0) ** 2, -0.5 * (30.0 * x[1] - 20.0) ** 2
        total += max(a, b) + math.log1p(math.exp(-abs(a - b)))
        for j in range(2, half + 1):
            z = 30.0 * x[j] - 20.0
            total += z - math.exp(z)
        for j in range(half + 1, dim):
            z = 30.0 * x[j] - 20.0
            total -= 0.5 * z * z
        return total + flat

    shift = -0.5772156649015329 / 30.0  # of the mean of a log-gamma law from its mode
    rest = [*[2.0 / 3.0 + shift] * (half - 1), *[2.0 / 3.0] * (half - 1)]
    exact = {10: -2.2708982e-05, 30: -2.2729594e-05}
    means = np.array([0.5 + shift, 0.5, *rest])
    return Problem(f"loggamma {dim}", *_box(dim, 0.0, 1.0), values, scalar, exact[dim], means)


def correlated_funnel() -> Problem:
    """A funnel whose 19 narrowing coordinates have correlations of 0.95, after Lange (2023)."""
    dim, rho = 20, 0.95
    m = dim - 1
    # The eigenvalues of the correlations: one along the diagonal, the others across it.
    along, across = 1.0 + (m - 1) * rho, 1.0 - rho
    flat = -0.5 * (dim * LOG_2PI + math.log(along) + (m - 1) * math.log(across))
    shrink = (1.0 / across - 1.0 / along) / m

    def values(x: Array) -> Array:
        y = x[:, 1:]
        form = np.einsum("ij,ij->i", y, y) / across - shrink * y.sum(axis=1) ** 2
        out: Array = flat - 0.5 * (x[:, 0] ** 2 + m * x[:, 0] + form * np.exp(-x[:, 0]))
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total, squares = 0.0, 0.0
        for j in range(1, dim):
            total += x[j]
            squares += x[j] * x[j]
        form = squares / across - shrink * total * total
        return flat - 0.5 * (x[0] * x[0] + m * x[0] + form * math.exp(-x[0]))

    # The box cuts the wide end of the funnel off, so the mean of its width is not zero.
    box, means = _box(dim, -10.0, 10.0), np.array([-0.00113114547163] + [0.0] * m)
    return Problem("correlated funnel 20", *box, values, scalar, -59.9150262110, means)


def constant() -> Problem:
    """The same everywhere: one plateau."""
    return Problem(
        "constant",
        *_box(2, 0.0, 1.0),
        lambda x: np.full(len(x), -1.5),
        lambda x: -1.5,
        -1.5,
        np.full(2, 0.5),
    )


CAKE = 0.5, 0.05  # the volume of a tier on top of another, and the width of the whole


def wedding_cake() -> Problem:
    """Tiers, each a plateau, after Fowlie, Handley and Su (2021)."""
    dim = 4
    ratio, width = CAKE
    per_tier, steepness = math.log(ratio) / dim, 8.0 * width * width

    def values(x: Array) -> Array:
        far = np.maximum(2.0 * np.abs(x - 0.5).max(axis=1), 1e-100)
        tier = np.floor(np.log(far) / per_tier)
        out: Array = -np.exp(2.0 * per_tier * tier) / steepness
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        far = 1e-100
        for j in range(dim):
            far = max(far, 2.0 * abs(x[j] - 0.5))
        return -math.exp(2.0 * per_tier * math.floor(math.log(far) / per_tier)) / steepness

    return Problem(
        f"wedding cake {dim}",
        *_box(dim, 0.0, 1.0),
        values,
        scalar,
        -7.4575330904,
        np.full(dim, 0.5),
    )


def ordered() -> Problem:
    """Standard normal coordinates that must ascend: no likelihood for 23 of 24 points."""
    dim = 4
    log_norm = -0.5 * dim * LOG_2PI

    def values(x: Array) -> Array:
        inside = (x[:, 1:] > x[:, :-1]).all(axis=1)
        return np.where(inside, log_norm - 0.5 * np.einsum("ij,ij->i", x, x), -np.inf)

    def scalar(x):  # type: ignore[no-untyped-def]
        total = log_norm - 0.5 * x[0] * x[0]
        for j in range(1, dim):
            if x[j] <= x[j - 1]:
                return -math.inf
            total -= 0.5 * x[j] * x[j]
        return total

    means = np.array([-1.0293753730, -0.2970113823, 0.2970113823, 1.0293753730])
    return Problem(f"ordered {dim}", *_box(dim, -5.0, 5.0), values, scalar, -12.3883964955, means)


KAPPA = 10.0


def von_mises() -> Problem:
    """Angles about zero: where axes do not close, one peak is in all 16 corners."""
    dim = 4

    def values(x: Array) -> Array:
        out: Array = KAPPA * np.cos(x).sum(axis=1)
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(dim):
            total += KAPPA * math.cos(x[j])
        return total

    box = _box(dim, 0.0, 2.0 * math.pi)
    every = tuple(range(dim))
    return Problem(
        f"von mises {dim}",
        *box,
        values,
        scalar,
        31.7718883325,
        np.full(dim, math.pi),
        periodic=every,
    )


TIMES = np.arange(24.0)
NOISE = 0.4


def alias_data() -> Array:
    """A sinusoid of frequency 0.2, phase 0, amplitude 1 and offset 0.5, with noise."""
    noise = NOISE * np.random.default_rng(7).normal(size=len(TIMES))
    out: Array = 0.5 + np.sin(2.0 * math.pi * 0.2 * TIMES) + noise
    return out


def alias() -> Problem:
    """A sinusoid that is observed at whole times.

    Seven frequencies up to 3.5 fit alike and have a seventh of the mass each: 0.2, 0.8, 1.2, 1.8,
    2.2, 2.8, 3.2. Coordinates: frequency, phase (closed), amplitude, offset.
    """
    observed = alias_data()
    n, weight = len(observed), -0.5 / NOISE**2
    constant = -n * (0.5 * LOG_2PI + math.log(NOISE))

    def values(x: Array) -> Array:
        angle = np.outer(2.0 * math.pi * x[:, 0], TIMES)
        angle += x[:, 1:2]
        left = np.sin(angle, out=angle)
        left *= x[:, 2:3]
        left += x[:, 3:] - observed
        out: Array = weight * np.einsum("ij,ij->i", left, left) + constant
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(n):
            angle = 2.0 * math.pi * x[0] * TIMES[j] + x[1]
            left = x[2] * math.sin(angle) + x[3] - observed[j]
            total += left * left
        return weight * total + constant

    low, high = np.array([0.0, 0.0, 0.0, -4.0]), np.array([3.5, 2.0 * math.pi, 4.0, 4.0])
    means = np.array([1.742829, 2.86787, 1.118074, 0.338793])
    return Problem("alias 4", low, high, values, scalar, -20.8504458145, means, periodic=(1,))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "gauss5": lambda: gauss(5),
    "gauss20": lambda: gauss(20),
    "eggbox": eggbox,
    "shells2": lambda: shells(2),
    "shells10": lambda: shells(10),
    "rosenbrock2": lambda: rosenbrock(2),
    "rosenbrock10": lambda: rosenbrock(10),
    "mix10": mix,
    "loggamma10": loggamma,
    "loggamma30": lambda: loggamma(30),
    "funnel20": correlated_funnel,
    "constant": constant,
    "spike_and_slab": spike_and_slab,
    "alias": alias,
    "von_mises": von_mises,
    "wedding_cake": wedding_cake,
    "ordered": ordered,
}


def problem(name: str) -> Problem:
    """One of `PROBLEMS`, made."""
    return PROBLEMS[name]()
