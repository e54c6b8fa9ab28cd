"""Tails, density and moments of the posterior of epsilon, in balls of Arb.

X ~ Beta(fn + p1, tp + q1) is the false negative rate, Y ~ Beta(fp + p2, tn + q2) the false positive
rate; with c = 1 - delta and E = e^eps, the attack shows more than eps where E x + y < c or
x + E y < c, its mirror image where the same holds of 1 - x and 1 - y, and the two are apart. So

    P(eps* > eps) = A(X, Y) + A(1 - X, 1 - Y),
    A(X, Y) = P(X < t, Y < c - E X) + P(Y < t, X < c - E Y) - P(X < t) P(Y < t),  t = c / (1 + E).

On the line E x + y = c let w be the logit of E x / c. All logarithms are analytic in w up to
|Im w| = pi, so that Gauss-Legendre panels converge geometrically, singular ends included. A sweep
along the line sums the inner distribution function, from where it vanishes, and the outer integral
at once: the former comes from the panel's own nodes by exact integration of their polynomial. No
incomplete beta function is called. Everything is summed in balls of python-flint (Arb), tails and
densities with 230 bits, moments with 110. Tails are summed once with X as the outer and Y as the
inner variable and once by parts, with the roles exchanged, on other panels and of another order;
the column "error" is the relative difference of the two plus what the balls say. Then

- some tails are compared with Arb's own rigorous integrals over the incomplete beta function,
  `acb.integral`, which have to overlap;
- the densities come from the line integral of the two densities, and a quarter of them are compared
  with central differences of the tails;
- mean and variance come from integrals of the density over eps, by panels that are halved until the
  last Legendre coefficients vanish, and the density has to integrate to P(eps* > 0);
- P(delta* <= d) at a given eps is P(eps* <= eps) with delta = d;
- mu* = |Phi^-1(1 - Y) - Phi^-1(X)| has the line y = Phi(-m - Phi^-1(x)) instead, and its mirror
  image only where both sides count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from flint import acb, arb, arb_mat, ctx
from scipy.special import log_ndtr

Point = tuple  # ln x, ln (1 - x), ln |dx/dw|, and the same of y
DIRECTIONS = ("both", "forward", "reverse", "attack")


class Quality(NamedTuple):
    """Bits, nodes per panel, and bounds of a panel and of what is left out, as logarithms."""

    bits: int
    nodes: int
    rise: float
    bend: float
    width: float
    cut: float


FINE = (Quality(230, 54, 8.0, 1.0, 1.5, 145.0), Quality(230, 48, 7.0, 0.8, 1.3, 140.0))
PLAIN = (Quality(110, 16, 5.0, 0.5, 1.5, 42.0), Quality(110, 18, 4.5, 0.45, 1.3, 44.0))
ROUGH = Quality(80, 16, 5.0, 0.5, 1.5, 34.0)
NOTHING = -800.0  # the logarithm of what no double is left of


@cache
def rule(n: int, bits: int) -> tuple[list[arb], list[arb], arb_mat]:
    """Give nodes, weights, and the matrix of integrals from -1 up to the nodes."""
    ctx.prec = bits
    pairs = [arb.legendre_p_root(n, n - 1 - k, weight=True) for k in range(n)]
    nodes, weights = [x for x, _ in pairs], [w for _, w in pairs]
    values = [[x.legendre_p(k) for k in range(n + 1)] for x in nodes]
    upto = arb_mat(
        n, n, [p[1] + 1 if k == 0 else p[k + 1] - p[k - 1] for p in values for k in range(n)]
    )
    expand = arb_mat(n, n, [weights[j] * values[j][k] / 2 for k in range(n) for j in range(n)])
    return nodes, weights, upto * expand


class Law:
    """A beta law, with arithmetic in balls and roughly in doubles."""

    def __init__(self, a: arb, b: arb) -> None:
        self.a, self.b = a, b
        self.exact = (a - 1, b - 1, a.lgamma() + b.lgamma() - (a + b).lgamma())
        self.rough = tuple(float(v.mid()) for v in self.exact)
        self.least = min(float(a.mid()), float(b.mid()))

    def flip(self) -> Law:
        """Give the law of the complement."""
        return Law(self.b, self.a)


def log_density(parts, p: Point, axis: int):
    """Give the logarithm of density and |dx/dw| (axis 0) or |dy/dw| (axis 1)."""
    ln_v, ln_other, ln_slope = p[3 * axis : 3 * axis + 3]
    return parts[0] * ln_v + parts[1] * ln_other + ln_slope - parts[2]


def log_add(a: float, b: float) -> float:
    """Give ln(e^a + e^b)."""
    low, high = min(a, b), max(a, b)
    return high + math.log1p(math.exp(low - high)) if high > -math.inf else high


class Line:
    """E x + y = c over w, the logit of E x / c; up to where x = y, or all of it."""

    def __init__(self, delta: float, eps: arb, whole: bool = False) -> None:
        self.delta, self.c = arb(delta), 1 - arb(delta)
        self.k = self.c * (-eps).exp()
        self.top = None if whole else eps
        self.ln_c, self.ln_k = self.c.log(), self.k.log()
        self.rest = 1 - self.k
        self.rough_top = float(eps.mid())
        self.rough_c, self.rough_k = float(self.ln_c.mid()), float(self.ln_k.mid())
        self.rough_delta = math.log(delta) if delta else -math.inf
        rest = float(self.rest.mid())
        self.rough_rest = math.log(rest) if rest else -math.inf
        self.reach = 40 + self.rough_top + (-self.rough_delta if delta else 0.0)

    def rough(self, w: float) -> Point:
        ln_u, ln_v = -log_add(0.0, -w), -log_add(0.0, w)
        ln_x, ln_y = self.rough_k + ln_u, self.rough_c + ln_v
        ln_x1 = log_add(self.rough_rest, self.rough_k + ln_v)
        ln_y1 = log_add(self.rough_delta, self.rough_c + ln_u)
        return ln_x, ln_x1, ln_x + ln_v, ln_y, ln_y1, ln_y + ln_u

    def exact(self, w: arb) -> Point:
        e = w.exp()
        v = 1 / (1 + e)
        ln_v = v.log()
        ln_u = w + ln_v
        ln_x, ln_y = self.ln_k + ln_u, self.ln_c + ln_v
        ln_x1, ln_y1 = (self.rest + self.k * v).log(), (self.delta + self.c * e * v).log()
        return ln_x, ln_x1, ln_x + ln_v, ln_y, ln_y1, ln_y + ln_u


class Probit:
    """y = Phi(-m - w) over x = Phi(w)."""

    top = None

    def __init__(self, m: arb) -> None:
        self.m, self.rough_m = m, float(m.mid())
        self.reach = 60.0 + self.rough_m

    def rough(self, w: float) -> Point:
        s = self.rough_m + w
        ln_x, ln_x1, ln_y, ln_y1 = map(float, log_ndtr(np.array([w, -w, -s, s])))
        return ln_x, ln_x1, -w * w / 2 - 0.9189, ln_y, ln_y1, -s * s / 2 - 0.9189

    def exact(self, w: arb) -> Point:
        s, root, ln_scale = self.m + w, arb(2).sqrt(), (2 * arb.pi()).log() / 2
        ln_x, ln_x1, ln_y, ln_y1 = (((-v / root).erfc() / 2).log() for v in (w, -w, -s, s))
        return ln_x, ln_x1, -w * w / 2 - ln_scale, ln_y, ln_y1, -s * s / 2 - ln_scale


def peak(h: Callable[[float], float], low: float, high: float) -> float:
    """Give where a unimodal function is largest, roughly, by golden sections."""
    a, b, share = low, high, (math.sqrt(5) - 1) / 2
    s, t = b - share * (b - a), a + share * (b - a)
    h_s, h_t = h(s), h(t)
    for _ in range(45):
        if h_s < h_t:
            a, s, h_s = s, t, h_t
            t = a + share * (b - a)
            h_t = h(t)
        else:
            b, t, h_t = t, s, h_s
            s = b - share * (b - a)
            h_s = h(s)
    return max((low, (a + b) / 2, high), key=h)


def edge(h: Callable[[float], float], inside: float, outside: float, cut: float) -> float:
    """Give where h has fallen by the cut, on the way from inside to outside."""
    floor = h(inside) - cut
    if h(outside) >= floor:
        return outside
    for _ in range(40):
        middle = (inside + outside) / 2
        if h(middle) >= floor:
            inside = middle
        else:
            outside = middle
    return outside


def panels(
    breaks: list[float], active: Callable[[float, float], list], q: Quality
) -> Iterator[tuple[float, float]]:
    """Cut the range so that the active exponents are nearly straight on each panel."""
    todo = [(a, b) for a, b in pairwise(breaks) if b > a][::-1]
    while todo:
        a, b = todo.pop()
        middle = (a + b) / 2
        rough = b - a > q.width
        for h in active(a, b):
            left, centre, right = h(a), h(middle), h(b)
            rough = rough or abs(left - right) > q.rise or abs(left - 2 * centre + right) > q.bend
        if rough and a < middle < b:
            todo += [(middle, b), (a, middle)]
        else:
            yield a, b


def mass(rough, exact, span: tuple, exact_end: arb | None, q: Quality) -> arb:
    """Integrate exp(h) over the span; its upper end may be given exactly."""
    low, high = span
    mode = peak(rough, low, high)
    if rough(mode) < NOTHING:
        return arb(0)
    first, last = edge(rough, mode, low, q.cut), edge(rough, mode, high, q.cut)
    nodes, weights, _ = rule(q.nodes, q.bits)
    total = arb(0)
    for a, b in panels(sorted({first, mode, last}), lambda a, b: [rough], q):
        end = exact_end if b == high and exact_end is not None else arb(b)
        half = (end - arb(a)) / 2
        middle = (end + arb(a)) / 2
        values = (exact(middle + half * x).exp() for x in nodes)
        total += half * sum((w * v for w, v in zip(weights, values, strict=True)), arb(0))
    return total


def sweep(curve, laws: tuple[Law, Law], outer: int, q: Quality) -> arb:
    """Integrate the density of the outer variable times the distribution function of the other.

    Over w below the curve's top where it has one. The walk over r, which is w or -w, goes to
    where the inner variable is larger. Nothing where the integrand is less than any double.
    """
    inner, sign = 1 - outer, 1 if outer == 1 else -1
    x_in, x_out = laws[inner], laws[outer]

    def h_in(r: float) -> float:
        return log_density(x_in.rough, curve.rough(sign * r), inner)

    def h_out(r: float) -> float:
        return log_density(x_out.rough, curve.rough(sign * r), outer)

    reach = curve.reach + 1.2 * q.cut / min(law.least for law in laws)
    low, high, top, exact_top = -reach, reach, None, None
    if curve.top is not None:
        top, exact_top = sign * curve.rough_top, sign * curve.top
        low, high = (low, top) if sign > 0 else (top, high)
    mode = peak(h_in, -reach, reach)

    def together(r: float) -> float:
        return h_out(r) + h_in(min(r, mode))

    best = peak(together, low, high)
    if together(best) < NOTHING:
        return arb(0)
    first, last = edge(together, best, low, q.cut), edge(together, best, high, q.cut)
    start = edge(h_in, min(first, mode), -reach, q.cut)

    def active(a: float, b: float) -> list:
        """Name the densities that count between a and b."""
        counts = [h_out] if a >= first else []
        falls_short = a >= mode and h_in(a) < h_in(mode) - q.cut
        return counts if falls_short else [*counts, h_in]

    inside = {r for r in (mode, best, peak(h_out, low, high)) if start < r < last}
    nodes, weights, upto = rule(q.nodes, q.bits)
    below = total = arb(0)
    for a, b in panels(sorted({start, first, last, *inside}), active, q):
        ends = [exact_top if r == top else arb(r) for r in (a, b)]
        half, middle = (ends[1] - ends[0]) / 2, (ends[0] + ends[1]) / 2
        points = [curve.exact(sign * (middle + half * x)) for x in nodes]
        if h_in in active(a, b):
            f_in = [log_density(x_in.exact, p, inner).exp() * half for p in points]
            partial = upto * arb_mat(q.nodes, 1, f_in)
            inner_values = [below + partial[j, 0] for j in range(q.nodes)]
            below += sum((w * f for w, f in zip(weights, f_in, strict=True)), arb(0))
        else:
            inner_values = [below] * q.nodes
        if a >= first:
            for w, p, f in zip(weights, points, inner_values, strict=True):
                total += half * w * f * log_density(x_out.exact, p, outer).exp()
    return total


def below_top(curve: Line, law: Law, q: Quality) -> arb:
    """Give P(X < t) for the law on the x axis of a line."""

    def rough(w: float) -> float:
        return log_density(law.rough, curve.rough(w), 0)

    reach = curve.reach + 1.2 * q.cut / law.least
    span = (-reach, curve.rough_top)
    return mass(rough, lambda w: log_density(law.exact, curve.exact(w), 0), span, curve.top, q)


def attack(line: Line, x: Law, y: Law, by_parts: bool, q: Quality) -> arb:
    """Give P(E X + Y < c or X + E Y < c)."""
    corner = below_top(line, x, q) * below_top(line, y, q)
    total = sum((sweep(line, pair, int(by_parts), q) for pair in ((x, y), (y, x))), arb(0))
    return total + corner if by_parts else total - corner


class Posterior(NamedTuple):
    """Counts and priors as doubles, taken exactly."""

    tp: float
    fp: float
    fn: float
    tn: float
    p1: float
    q1: float
    p2: float
    q2: float

    def laws(self) -> tuple[Law, Law]:
        """Give the laws of the false negative and the false positive rate."""
        tp, fp, fn, tn, p1, q1, p2, q2 = map(arb, self)
        return Law(fn + p1, tp + q1), Law(fp + p2, tn + q2)


def upper_tail(
    post: Posterior, delta: float, eps: arb, direction: str, by_parts: bool, q: Quality
) -> arb:
    """Give P(eps* > eps) by one of the two ways."""
    ctx.prec = q.bits
    x, y = post.laws()
    if direction == "forward":
        return sweep(Line(delta, eps, whole=True), (y, x), int(by_parts), q)
    if direction == "reverse":
        return sweep(Line(delta, eps, whole=True), (x, y), int(by_parts), q)
    line = Line(delta, eps)
    tail = attack(line, x, y, by_parts, q)
    if direction == "both":
        tail += attack(line, x.flip(), y.flip(), by_parts, q)
    return tail


def mu_tail(post: Posterior, sides: int, m: arb, by_parts: bool, q: Quality) -> arb:
    """Give P(mu* > m) by one of the two ways.

    With one side, mu* = max(0, Phi^-1(1 - Y) - Phi^-1(X)).
    """
    ctx.prec = q.bits
    x, y = post.laws()
    curve = Probit(m)
    pairs = ((x, y), (x.flip(), y.flip()))[:sides]
    return sum((sweep(curve, pair, int(by_parts), q) for pair in pairs), arb(0))


def density(post: Posterior, delta: float, eps: arb, q: Quality) -> arb:
    """Give the density of eps*, an integral along the lines where eps* = eps."""
    ctx.prec = q.bits
    x, y = post.laws()
    line = Line(delta, eps)
    total = arb(0)
    for a, b in ((x, y), (y, x), (x.flip(), y.flip()), (y.flip(), x.flip())):

        def along(one, two, p: Point):
            return log_density(one, p, 0) - p[2] + p[0] + log_density(two, p, 1)

        def rough(w: float, a=a, b=b) -> float:
            return along(a.rough, b.rough, line.rough(w))

        def exact(w: arb, a=a, b=b) -> arb:
            return along(a.exact, b.exact, line.exact(w))

        reach = line.reach + 1.2 * q.cut / min(a.least, b.least)
        total += mass(rough, exact, (-reach, line.rough_top), line.top, q)
    return total


def nearest(value: arb) -> float:
    """Round the middle of a ball to a double, correctly."""
    man, exp = value.mid().man_exp()
    return float(Fraction(int(man)) * Fraction(2) ** int(exp))


def checked(one: arb, two: arb) -> tuple[float, float]:
    """Give a value, and its relative error from two computations of it."""
    spread = abs(one - two) + one.rad() + two.rad()
    return nearest(one), float((spread / one).abs_upper()) if nearest(one) else 0.0


def both_tails(tail: Callable[[bool, Quality], arb]) -> list[float]:
    """Give distribution function, upper tail, and the larger of their relative errors."""
    one, two = (tail(by_parts, q) for by_parts, q in zip((False, True), FINE, strict=True))
    cdf, cdf_error = checked(1 - one, 1 - two)
    sf, sf_error = checked(one, two)
    return [cdf, sf, max(cdf_error, sf_error)]


def rigorous(post: Posterior, delta: float, eps: float) -> arb:
    """Give a ball around P(eps* > eps) from Arb's integrals over the incomplete beta function."""
    ctx.prec = 160
    line = Line(delta, arb(eps))
    x, y = post.laws()
    total = arb(0)
    for one, two in ((x, y), (x.flip(), y.flip())):
        for a, b in ((one, two), (two, one)):
            low = -150 / a.a
            # What lies below the lower end is between nothing and P(X < x there).
            rest = line.exact(low)[0].exp().beta_lower(a.a, a.b, regularized=True)
            ln_scale = b.a.log() + b.exact[2]

            def values(w: acb, analytic: bool, a=a, b=b, ln_scale=ln_scale) -> acb:
                e = w.exp()
                v = 1 / (1 + e)
                u, y = e * v, line.c * v
                logs = [t.log(analytic=analytic) for t in (line.k * u, line.rest + line.k * v)]
                logs += [t.log(analytic=analytic) for t in (y, line.delta + line.c * u)]
                outer = a.a * logs[0] + a.exact[1] * logs[1] - a.exact[2] + v.log(analytic=analytic)
                inner = b.a * logs[2] + b.b * logs[3] - ln_scale
                return (outer + inner).exp() * y.hypgeom_2f1(b.a + b.b, 1, b.a + 1)

            part = acb.integral(values, acb(low), acb(line.top), rel_tol=arb(2) ** -60)
            total += part.real + arb(0).union(rest)
        x_below, y_below = (
            line.exact(line.top)[0].exp().beta_lower(law.a, law.b, regularized=True)
            for law in (one, two)
        )
        total -= x_below * y_below
    return total


def quick_log(post: Posterior, delta: float, direction: str, eps: float, upper: bool) -> float:
    """Give ln P(eps* > eps) or ln P(eps* <= eps) roughly."""
    tail = upper_tail(post, delta, arb(eps), direction, False, ROUGH)
    value = tail if upper else 1 - tail
    return float(value.mid().log()) if value.mid() > 0 else -math.inf


def crossing(f: Callable[[float], float], target: float, end: float, start: float = 0.0) -> float:
    """Find where a falling function passes the target, roughly."""
    low, high = start, end
    while f(high) > target:
        low, high = high, 2 * high
    for _ in range(24):
        middle = (low + high) / 2
        value = f(middle)
        if abs(value - target) < 0.1 * min(1.0, abs(target)):
            return middle
        low, high = (middle, high) if value > target else (low, middle)
    return (low + high) / 2


def moments(post: Posterior, delta: float, q: Quality, n: int) -> tuple[arb, arb]:
    """Give mean and variance from integrals of the density over eps, by panels of n nodes."""
    high = crossing(lambda e: quick_log(post, delta, "both", e, True), -55.0, 4.0)
    low = crossing(lambda e: -quick_log(post, delta, "both", e, False), 30.0, high)
    centre = crossing(lambda e: quick_log(post, delta, "both", e, True), -0.7, high)
    ctx.prec = q.bits
    nodes, weights, _ = rule(n, q.bits)
    values = [[x.legendre_p(k) for x in nodes] for k in (n - 3, n - 2, n - 1)]
    sums = [arb(0)] * 3
    starts = np.concatenate([[0.0], np.linspace(max(low - (centre - low), 0.0), high, 9)])
    todo = [(a, b) for a, b in pairwise(starts) if b > a]
    while todo:
        a, b = map(arb, todo.pop())
        half, middle = (b - a) / 2, (a + b) / 2
        f = [density(post, delta, middle + half * x, q) for x in nodes]
        high_terms = [
            sum((w * p * v for w, p, v in zip(weights, row, f, strict=True)), arb(0))
            for row in values
        ]
        if any(abs(t) * half * n > 1e-17 for t in high_terms) and half > 1e-8:
            todo += [(float(a), float(middle)), (float(middle), float(b))]
            continue
        for w, x, v in zip(weights, nodes, f, strict=True):
            away = middle + half * x - centre
            terms = (v, v * away, v * away * away)
            sums = [s + half * w * t for s, t in zip(sums, terms, strict=True)]
    total = upper_tail(post, delta, arb(0), "both", False, FINE[0])
    ctx.prec = q.bits
    assert abs(sums[0] - total) < 1e-14 * total, (post, delta, sums[0], total)
    atom = 1 - total
    shift = sums[1] - atom * centre
    return centre + shift, sums[2] + atom * centre**2 - shift * shift
