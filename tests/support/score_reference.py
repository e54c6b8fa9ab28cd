"""Reference score models, schedules and integrators in plain loops, as in the literature.

Nothing here is shared with the library: a mixture solves with each covariance instead of using its
eigenvectors, an integrator is a loop over steps instead of a list of coefficients. A point y is
x + s z; D is the mean of x given y, eps = (y - D) / s, and the probability-flow equation is
dy/ds = eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.special import ndtri

Array = NDArray[np.float64]
Denoiser = Callable[[Array, float], Array]
Noise = Callable[[int], Array]
"""Gives draw number k for all rows."""


class Mixture:
    """Gaussians of full covariance, each solved with anew."""

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> None:
        self.weights = np.asarray(weights, float) / np.sum(weights)
        self.means = np.asarray(means, float)
        self.covariances = np.asarray(covariances, float)
        self.dim = self.means.shape[1]

    def parts(self, y: Array, s: float) -> tuple[Array, Array, Array, Array]:
        """Log-density, responsibilities, and each component's score and denoised points."""
        eye, logs, scores, denoised = np.eye(self.dim), [], [], []
        for w, mean, cov in zip(self.weights, self.means, self.covariances, strict=True):
            noisy = cov + s * s * eye
            away = y - mean
            solved = np.linalg.solve(noisy, away.T).T
            half = 0.5 * np.einsum("ij,ij->i", away, solved)
            constant = 0.5 * np.linalg.slogdet(noisy)[1] + 0.5 * self.dim * math.log(2 * math.pi)
            logs.append(math.log(w) - half - constant)
            scores.append(-solved)
            denoised.append(mean + solved @ cov)
        ell = np.stack(logs)
        top = ell.max(axis=0)
        total = np.exp(ell - top).sum(axis=0)
        share = np.exp(ell - top) / total
        return top + np.log(total), share, np.stack(scores), np.stack(denoised)

    def log_density(self, y: Array, s: float) -> Array:
        return self.parts(y, s)[0]

    def score(self, y: Array, s: float) -> Array:
        _, share, scores, _ = self.parts(y, s)
        return np.einsum("kn,knd->nd", share, scores)

    def denoise(self, y: Array, s: float) -> Array:
        _, share, _, denoised = self.parts(y, s)
        return np.einsum("kn,knd->nd", share, denoised)

    @property
    def mean(self) -> Array:
        return self.weights @ self.means

    @property
    def covariance(self) -> Array:
        away = self.means - self.mean
        between = np.einsum("k,ki,kj->ij", self.weights, away, away)
        return np.einsum("k,kij->ij", self.weights, self.covariances) + between


def model_a() -> Mixture:
    """Three components in the plane."""
    covariances = [np.diag([0.25, 0.25]), [[0.36, 0.12], [0.12, 0.16]], np.diag([0.09, 0.64])]
    return Mixture([0.5, 0.3, 0.2], [[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]], covariances)


def model_b() -> Mixture:
    """Eight balls in 16 dimensions."""
    k, d = 8, 16
    units = np.random.default_rng(7).standard_normal((k, d))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    sd = 0.1 + 0.05 * (np.arange(k) % 3)
    return Mixture(np.arange(1.0, k + 1), 3.2 * units, (sd**2)[:, None, None] * np.eye(d))


def probes(n: int = 256, scale: float = 10.0) -> Array:
    """Points of the plane by the additive recurrence of the plastic number, made normal."""
    g = np.roots([1.0, 0.0, -1.0, -1.0])
    g = float(g[np.abs(g.imag) < 1e-9].real[0])
    for _ in range(3):
        g -= (g**3 - g - 1.0) / (3.0 * g * g - 1.0)
    i = np.arange(1, n + 1)[:, None]
    u = (0.5 + i * np.array([1.0 / g, 1.0 / g**2])) % 1.0
    return scale * ndtri(u)


def flow(f: Denoiser, y: Array, high: float, low: float, rtol: float = 1e-12) -> Array:
    """The solution of the probability-flow equation, in log s."""

    def slope(u: float, flat: Array) -> Array:
        points = flat.reshape(y.shape)
        return (points - f(points, math.exp(u))).ravel()

    span = math.log(high), math.log(low)
    found = solve_ivp(slope, span, y.ravel(), "DOP853", rtol=rtol, atol=rtol)
    return found.y[:, -1].reshape(y.shape)


# Schedules: n steps from high to low.


def karras(n: int, low: float, high: float, rho: float = 7.0) -> Array:
    ramp = np.arange(n + 1) / n
    return (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho


def exponential(n: int, low: float, high: float) -> Array:
    return np.exp(np.linspace(math.log(high), math.log(low), n + 1))


def polyexponential(n: int, low: float, high: float, rho: float) -> Array:
    ramp = np.linspace(1.0, 0.0, n + 1) ** rho
    return np.exp(ramp * math.log(high / low) + math.log(low))


def vp_time(s: ArrayLike, beta: tuple[float, float] = (0.1, 20.0)) -> Array:
    """Time of the linear variance-preserving process: s² + 1 = exp(t²(b1 - b0)/2 + t b0)."""
    slope = beta[1] - beta[0]
    target = np.log1p(np.square(np.asarray(s, float)))
    return (-beta[0] + np.sqrt(beta[0] ** 2 + 2 * slope * target)) / slope


# Integrators.


def phi2(h: float) -> float:
    """(exp(-h) - 1)/h + 1, by its series where the formula would cancel."""
    if abs(h) >= 1.0:
        return math.expm1(-h) / h + 1.0
    return sum((-1) ** (k + 1) * h**k / math.factorial(k + 1) for k in range(25, 0, -1))


def phi3(h: float) -> float:
    """phi2/h - 1/2."""
    if abs(h) >= 1.0:
        return phi2(h) / h - 0.5
    return sum((-1) ** k * h**k / math.factorial(k + 2) for k in range(25, 0, -1))


class Langevin(NamedTuple):
    """Steps after each predictor (Song et al., 2021)."""

    n_steps: int = 1
    snr: float = 0.16
    norm: str = "level"


class Run:
    """What an integrator has at hand: y, the denoised points so far, and the steps' levels."""

    def __init__(self, f: Denoiser, y: Array, levels: Array, noise: Noise | None) -> None:
        self.f, self.y, self.levels = f, np.array(y, float), [float(s) for s in levels]
        self.noise, self.draws, self.n_evals = noise, 0, 0
        self.i = 0
        self.denoised: list[Array] = []
        self.slopes: list[Array] = []
        self.memory: Any = None

    @property
    def s(self) -> float:
        return self.levels[self.i]

    @property
    def to(self) -> float:
        return self.levels[self.i + 1]

    @property
    def last(self) -> bool:
        return self.i + 2 == len(self.levels)

    def h(self, back: int = 0) -> float:
        return math.log(self.levels[self.i - back] / self.levels[self.i - back + 1])

    def ask(self, y: Array, s: float) -> Array:
        self.n_evals += 1
        return self.f(y, s)

    def slope(self, y: Array, s: float) -> Array:
        return (y - self.ask(y, s)) / s

    def draw(self) -> Array:
        assert self.noise is not None
        self.draws += 1
        return self.noise(self.draws - 1)


Step = Callable[[Run, int], Array]
"""Gives the next y; the denoised points are at hand. The number is the order to use."""


def euler(run: Run, order: int) -> Array:
    return run.y + (run.to - run.s) * run.slopes[-1]


def midpoint(run: Run, order: int) -> Array:
    middle = math.sqrt(run.s * run.to)
    there = run.slope(run.y + (middle - run.s) * run.slopes[-1], middle)
    return run.y + (run.to - run.s) * there


def kutta3(run: Run, order: int) -> Array:
    dt, k1 = run.to - run.s, run.slopes[-1]
    k2 = run.slope(run.y + 0.5 * dt * k1, run.s + 0.5 * dt)
    k3 = run.slope(run.y - dt * k1 + 2 * dt * k2, run.to)
    return run.y + dt / 6 * (k1 + 4 * k2 + k3)


def kutta4(run: Run, order: int) -> Array:
    dt, k1 = run.to - run.s, run.slopes[-1]
    k2 = run.slope(run.y + 0.5 * dt * k1, run.s + 0.5 * dt)
    k3 = run.slope(run.y + 0.5 * dt * k2, run.s + 0.5 * dt)
    k4 = run.slope(run.y + dt * k3, run.to)
    return run.y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def single2(run: Run, order: int) -> Array:
    """DPM-Solver++ (Lu et al., 2022) of one step, r = 1/2."""
    h, d0 = run.h(), run.denoised[-1]
    s1 = run.s * math.exp(-0.5 * h)
    d1 = run.ask(s1 / run.s * run.y - math.expm1(-0.5 * h) * d0, s1)
    return run.to / run.s * run.y - math.expm1(-h) * d1


def single3(run: Run, order: int) -> Array:
    h, d0, s = run.h(), run.denoised[-1], run.s
    r1, r2 = 1 / 3, 2 / 3
    s1, s2 = s * math.exp(-r1 * h), s * math.exp(-r2 * h)
    d1 = run.ask(s1 / s * run.y - math.expm1(-r1 * h) * d0, s1)
    u2 = s2 / s * run.y - math.expm1(-r2 * h) * d0 + r2 / r1 * phi2(r2 * h) * (d1 - d0)
    d2 = run.ask(u2, s2)
    return run.to / s * run.y - math.expm1(-h) * d0 + phi2(h) / r2 * (d2 - d0)


def heun(
    churn: float = 0.0, span: tuple[float, float] = (0.0, math.inf), scale: float = 1.0
) -> Step:
    """Karras et al. (2022), algorithms 1 and 2; see `churned` for what comes before the step."""

    def step(run: Run, order: int) -> Array:
        s, first = run.memory if churn else (run.s, run.slopes[-1])
        dt = run.to - s
        return run.y + 0.5 * dt * (first + run.slope(run.y + dt * first, run.to))

    def before(run: Run) -> None:
        n, s = len(run.levels) - 1, run.s
        gamma = min(churn / n, math.sqrt(2) - 1) if span[0] <= s <= span[1] else 0.0
        hat = (1 + gamma) * s
        # Numbers are drawn in every step, used or not.
        run.y = run.y + math.sqrt(hat * hat - s * s) * scale * run.draw()
        run.memory = hat, None

    if churn:
        step.before = before  # type: ignore[attr-defined]
    return step


def multi(order_wanted: int, eta: float = 0.0, sde: str = "midpoint", c: float = 1.0) -> Step:
    """DPM-Solver++ of many steps; eta = 1 is the reverse stochastic equation."""

    def step(run: Run, order: int) -> Array:
        h, now = run.h(), run.denoised[-1]
        big = h * (1 + eta)
        y = run.to / run.s * math.exp(-eta * h) * run.y - math.expm1(-big) * now
        if order == 2:
            difference = (now - run.denoised[-2]) * (h / run.h(1))
            half = -0.5 * math.expm1(-big)
            y = y + (phi2(big) if order_wanted == 3 or sde == "heun" else half) * difference
        if order == 3:
            before, oldest = run.denoised[-2], run.denoised[-3]
            r0, r1 = run.h(1) / h, run.h(2) / h
            a, b = (now - before) / r0, (before - oldest) / r1
            first = a + (a - b) * r0 / (r0 + r1)
            second = (a - b) / (r0 + r1)
            y = y + phi2(big) * first - c * phi3(big) * second
        if eta:
            y = y + run.to * math.sqrt(-math.expm1(-2 * eta * h)) * run.draw()
        return y

    return step


def split(s: float, to: float, eta: float) -> tuple[float, float]:
    """The lower level of an ancestral step, and the noise from it up to `to`."""
    up = min(to, eta * math.sqrt(to**2 * (s**2 - to**2) / s**2))
    return math.sqrt(to**2 - up**2), up


def ancestral(eta: float = 1.0) -> Step:
    def step(run: Run, order: int) -> Array:
        s, to = run.s, run.to
        down, up = split(s, to, eta)
        y = run.y + (down - s) * run.slopes[-1]
        return y + up * run.draw() if eta else y

    return step


def single2_ancestral(eta: float) -> Step:
    """DPM-Solver++ of one step to the lower level, and noise."""

    def step(run: Run, order: int) -> Array:
        s, d0 = run.s, run.denoised[-1]
        down, up = split(s, run.to, eta)
        h = math.log(s / down)
        middle = s * math.exp(-0.5 * h)
        d1 = run.ask(middle / s * run.y - math.expm1(-0.5 * h) * d0, middle)
        y = down / s * run.y - math.expm1(-h) * d1
        return y + up * run.draw() if eta else y

    return step


def brownian_correlation(s: float, middle: float, to: float) -> float:
    """The correlation of the increments of a Brownian motion over a part and the whole."""
    return math.sqrt((s - middle) / (s - to))


def single2_sde(eta: float) -> Step:
    """DPM-Solver++ of one step with correlated noise at the middle and the end, r = 1/2."""

    def step(run: Run, order: int) -> Array:
        s, to, d0 = run.s, run.to, run.denoised[-1]
        middle = s * math.exp(-0.5 * run.h())
        down, up = split(s, middle, eta)
        first = run.draw() if eta else 0.0
        u = down / s * run.y + (1 - down / s) * d0 + up * first
        d1 = run.ask(u, middle)
        down, up = split(s, to, eta)
        rho = brownian_correlation(s, middle, to)
        second = rho * first + math.sqrt(1 - rho**2) * run.draw() if eta else 0.0
        return down / s * run.y + (1 - down / s) * d1 + up * second

    return step


def euler_maruyama(run: Run, order: int) -> Array:
    g2 = run.s**2 - run.to**2
    score = (run.denoised[-1] - run.y) / run.s**2
    return run.y + g2 * score + math.sqrt(g2) * run.draw()


def deis(variable: str) -> Step:
    """Adams-Bashforth in s with polynomials in u(s) (Zhang and Chen, 2023)."""
    maps: dict[str, Callable[[Any], Any]] = {"sigma": np.asarray, "log": np.log, "vp_t": vp_time}
    u = maps[variable]
    x, w = np.polynomial.legendre.leggauss(64)

    def step(run: Run, order: int) -> Array:
        s, to = run.s, run.to
        at = u(s + (to - s) * 0.5 * (x + 1))
        nodes = [float(u(run.levels[run.i - j])) for j in range(order)]
        y = run.y
        for j in range(order):
            basis = np.ones_like(at)
            for k in range(order):
                if k != j:
                    basis = basis * (at - nodes[k]) / (nodes[j] - nodes[k])
            y = y + 0.5 * (to - s) * (w @ basis) * run.slopes[-1 - j]
        return y

    return step


def velocity_weights(order: int, b: float) -> list[float]:
    """Of the newest velocities, as generalised heavy-ball methods combine them."""
    return {
        1: [b],
        2: [(2 + b) / 2, -(2 - b) / 2],
        3: [(18 + 5 * b) / 12, -(24 - 8 * b) / 12, (6 - b) / 12],
        4: [(46 + 9 * b) / 24, -(78 - 19 * b) / 24, (42 - 5 * b) / 24, -(10 - b) / 24],
    }[order]


def ghvb(beta: float) -> Step:
    """Diffusion sampling with momentum (Wizadwongsa et al., 2023)."""

    def step(run: Run, order: int) -> Array:
        eps = run.slopes[-1]
        velocities = run.memory or [eps]
        velocities.append((1 - beta) * velocities[-1] + beta * eps)
        run.memory = velocities
        # Of order 1 the combination is beta v, over beta.
        weights = velocity_weights(order, beta)
        total = sum(c * velocities[-1 - j] for j, c in enumerate(weights))
        return run.y + (run.to - run.s) * total / beta

    step.remembers = True  # type: ignore[attr-defined]
    return step


def heavy_ball(beta: float) -> Step:
    """A velocity that follows the direction of an Adams-Bashforth rule of equal steps."""

    def step(run: Run, order: int) -> Array:
        weights = velocity_weights(order, 1.0)
        bashforth = sum(c * run.slopes[-1 - j] for j, c in enumerate(weights))
        old = run.memory if run.memory is not None else run.slopes[-1]
        run.memory = (1 - beta) * old + beta * bashforth
        return run.y + (run.to - run.s) * run.memory

    step.remembers = True  # type: ignore[attr-defined]
    return step


def unipc(form: str = "bh2", corrector: bool = True) -> Step:
    """UniPC (Zhao et al., 2023) on denoised points; what was predicted is what is denoised next."""

    def step(run: Run, order: int) -> Array:
        h, now = run.h(), run.denoised[-1]
        hh = -h
        big = math.expm1(hh) if form == "bh2" else hh
        base = run.to / run.s * run.y - math.expm1(hh) * now
        ratios, differences = [], []
        for j in range(1, order):
            r = math.log(run.s / run.levels[run.i - j]) / h
            ratios.append(r)
            differences.append((run.denoised[-1 - j] - now) / r)
        ratios.append(1.0)
        # (exp(hh) - 1)/hh - 1 and what follows from it, as sums.
        g = [sum(hh**k / math.factorial(k + q) for k in range(1, 60)) for q in range(1, order + 1)]
        b = [value * math.factorial(q + 1) / big for q, value in enumerate(g)]
        matrix = np.array([[r**q for r in ratios] for q in range(order)])
        y = base
        if order == 2:
            y = base - big * 0.5 * differences[0]
        elif order > 2:
            weights = np.linalg.solve(matrix[:-1, :-1], b[:-1])
            y = base - big * sum(c * d for c, d in zip(weights, differences, strict=True))
        if run.last or not corrector:
            return y
        new = run.memory = run.ask(y, run.to)
        weights = np.array([0.5]) if order == 1 else np.linalg.solve(matrix, b)
        moved = sum(c * d for c, d in zip(weights[:-1], differences, strict=True))
        return base - big * (moved + weights[-1] * (new - now))

    step.keeps = True  # type: ignore[attr-defined]
    return step


def integrate(
    step: Step,
    f: Denoiser,
    y: Array,
    levels: Array,
    noise: Noise | None = None,
    *,
    order: int = 1,
    start: str = "low",
    lower_order_final: bool = False,
    langevin: Langevin | None = None,
) -> tuple[Array, Run]:
    """Follow `step` along the levels; where the last one is 0, the last step is to denoise."""
    run = Run(f, y, levels, noise)
    n = len(levels) - 1
    keeps = getattr(step, "keeps", False)
    for i in range(n):
        run.i = i
        if hasattr(step, "before"):
            step.before(run)
            hat = run.memory[0]
            now = run.ask(run.y, hat)
            slope = (run.y - now) / hat
            run.memory = hat, slope
        else:
            now = run.memory if keeps and i > 0 and run.memory is not None else None
            now = run.ask(run.y, run.s) if now is None else now
            run.memory = None if keeps else run.memory
            slope = (run.y - now) / run.s
        run.denoised.append(now)
        run.slopes.append(slope)
        if run.to == 0.0:
            run.y = now
            break
        use = min(order, i + 1)
        if lower_order_final:
            use = min(use, n - i)
        if start == "rk" and i < order - 1:
            if hasattr(step, "remembers"):
                step(run, use)
            run.y = single3(run, 3)
        else:
            run.y = step(run, use)
        if langevin is not None:
            for _ in range(langevin.n_steps):
                g = (run.ask(run.y, run.to) - run.y) / run.to**2
                z = run.draw()
                sizes = np.linalg.norm(z, axis=1), np.linalg.norm(g, axis=1)
                if langevin.norm == "level":
                    sizes = np.full(len(z), run.to), np.ones(len(z))
                if langevin.norm == "batch":
                    sizes = sizes[0].mean(), sizes[1].mean()
                zeta = 2 * (langevin.snr * sizes[0] / sizes[1]) ** 2
                zeta = np.reshape(zeta, (-1, 1))
                run.y = run.y + zeta * g + np.sqrt(2 * zeta) * z
    return run.y, run
