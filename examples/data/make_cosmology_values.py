"""Regenerates cosmology_values.csv: evidences and posterior moments of the Hubble rates' models.

Run ``python examples/data/make_cosmology_values.py > cosmology_values.csv``; README.md beside it
says what the columns mean. Takes about ten seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.special import ndtr

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from _cosmology import MODELS, Array, Model, Rates, load  # noqa: E402

#: Gauss-Legendre nodes of each parameter that is not integrated out in closed form.
N_NODES, N_CHECK = 160, 110


def nodes(prior: tuple[str, float, float], n: int) -> tuple[Array, Array]:
    """Nodes of a uniform prior and their probabilities."""
    _, low, high = prior
    x, weight = np.polynomial.legendre.leggauss(n)
    return 0.5 * (low + high) + 0.5 * (high - low) * x, 0.5 * weight


def moments(model: Model, data: Rates, n: int) -> dict[str, float]:
    """Log evidence, information, posterior means and standard deviations, by quadrature.

    Rates are linear in H0 and in the offset, both are integrated in closed form at every node of
    the others: the offset over its normal prior, H0 over its interval.
    """
    prior = list(model.prior.values())
    axes = [nodes(p, n) for p in prior[1 : 1 + model.n_shape]]
    shape = [a.ravel() for a in np.meshgrid(*(x for x, _ in axes), indexing="ij")]
    weight = np.prod(np.meshgrid(*(w for _, w in axes), indexing="ij"), axis=0).ravel()
    squared = model.squared(data.z, *(a[:, None] for a in shape))
    allowed = (squared > 0).all(axis=1)
    shape, weight, e = [a[allowed] for a in shape], weight[allowed], np.sqrt(squared[allowed])
    log_factors, of_factor = np.zeros(1), np.ones(1)
    offset_variance = 0.0
    if model.errors:
        log_factors, of_factor = nodes(prior[-1], n)
        offset_variance = prior[-2][2] ** 2
    _, low, high = prior[0]

    logs, values = [], []
    for log_factor, share in zip(log_factors, of_factor, strict=True):
        precision = np.exp(-2 * log_factor) / data.error**2
        # Given H0 the offset is normal: mean alpha - beta H0, this variance.
        variance = offset_variance / (1 + offset_variance * precision.sum())
        alpha, beta = variance * (precision @ data.rate), variance * (e @ precision)
        # Without the offset -2 log L is a H0² - 2 b H0 + c, and constants.
        a = e**2 @ precision - (e @ precision) * beta
        b = e @ (precision * data.rate) - (e @ precision) * alpha
        c = precision @ data.rate**2 - (precision @ data.rate) * alpha
        centre, sd = b / a, 1 / np.sqrt(a)
        lower, upper = (low - centre) / sd, (high - centre) / sd
        # Differences of the smaller tails, so that nothing cancels.
        swap = lower > 0
        mass = ndtr(np.where(swap, -lower, upper)) - ndtr(np.where(swap, -upper, lower))
        density = [np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi) for t in (lower, upper)]
        mean_t = (density[0] - density[1]) / np.maximum(mass, 1e-300)
        square_t = 1 + (lower * density[0] - upper * density[1]) / np.maximum(mass, 1e-300)
        h, hh = centre + sd * mean_t, centre**2 + 2 * centre * sd * mean_t + sd**2 * square_t
        offset, offset_square = alpha - beta * h, variance + alpha**2 - 2 * alpha * beta * h
        offset_square = offset_square + beta**2 * hh
        e_rest, rest = e - beta[:, None], data.rate - alpha
        chi_square = (
            precision @ rest**2 - 2 * h * (e_rest @ (precision * rest))
            + hh * (e_rest**2 @ precision) + variance * precision.sum()
        )  # fmt: skip
        normalised = 0.5 * np.sum(np.log(precision / (2 * np.pi)))
        with np.errstate(divide="ignore"):
            logs.append(
                np.log(share * weight * mass * sd * np.sqrt(2 * np.pi) / (high - low))
                + normalised - 0.5 * np.log1p(offset_variance * precision.sum())
                - 0.5 * (c - b**2 / a)
            )  # fmt: skip
        extras = [offset, offset_square] if model.errors else []
        extras += [np.full_like(h, log_factor), np.full_like(h, log_factor**2)][: len(extras)]
        squares = [q for x in shape for q in (x, x**2)]
        values.append(np.array([normalised - 0.5 * chi_square, h, hh, *squares, *extras]))

    log_parts = np.array(logs)
    top = log_parts.max()
    part = np.exp(log_parts - top)
    total = part.sum()
    mean = sum(v @ p for v, p in zip(values, part, strict=True)) / total
    log_evidence = top + np.log(total)
    out = {"log_evidence": log_evidence, "information": mean[0] - log_evidence}
    for k, name in enumerate(model.prior):
        first, second = mean[1 + 2 * k], mean[2 + 2 * k]
        out |= {f"mean {name}": first, f"sd {name}": np.sqrt(second - first**2)}
    return {name: float(value) for name, value in out.items()}


def main() -> None:
    """Print the file, if two resolutions agree."""
    data = load(HERE / "hubble_rates.csv")
    print("model,quantity,value")
    for name, model in MODELS.items():
        values, check = moments(model, data, N_NODES), moments(model, data, N_CHECK)
        error = max(abs(values[q] - check[q]) for q in values)
        print(f"{name}: two resolutions differ by {error:.1e}", file=sys.stderr)
        if error > 1e-8:
            raise RuntimeError(f"quadrature of {name} is not exact to 1e-8: {error:.1e}")
        for quantity, value in values.items():
            print(f"{name},{quantity},{value:.10f}")


if __name__ == "__main__":
    main()
