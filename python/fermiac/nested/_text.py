"""What is said of a nested sampling run: its headline, and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fermiac import _averages

if TYPE_CHECKING:
    from fermiac.nested._result import Nested

__all__ = ["headline", "summary"]


def headline(result: Nested) -> str:
    """The first line of the repr."""
    return (
        f"Nested: log Z = {with_error(result.log_evidence, result.log_evidence_stderr)}, "
        f"H {result.information:.3g} nats, ESS {result.ess:.0f}, n live {result.n_live}"
    )


def with_error(value: float, error: float) -> str:
    """A number to as many places as two digits of its error have."""
    if not (np.isfinite(error) and error > 0 and np.isfinite(value)):
        return f"{value:.6g} ± {error:.2g}"
    places = min(max(1 - int(np.floor(np.log10(error))), 0), 12)
    return f"{value:.{places}f} ± {error:.{places}f}"


def summary(result: Nested) -> str:
    """What `Nested.summary` gives."""
    low, middle, high = np.quantile(result.log_evidence_samples, [0.16, 0.5, 0.84])
    places = max(2, len(with_error(0.0, result.log_evidence_stderr).partition(" ")[0]) - 2)
    simulated = ", ".join(f"{x:.{places}f}" for x in (low, middle, high))
    expected = np.sqrt(result.information / result.n_live)
    rows = [
        ("log evidence", with_error(result.log_evidence, result.log_evidence_stderr)),
        ("its 16 %, 50 %, 84 %", f"{simulated} (simulated prior masses)"),
        ("information", f"{result.information:.4g} nats; sqrt(H / n live) = {expected:.3g}"),
        ("points", f"{result.n_draws}, of the effective number {result.ess:.0f}"),
        ("prior mass left", f"exp({result.log_x[-1]:.4g})"),
    ]
    if result.n_evals:
        share = f"{result.n_draws / result.n_evals:.2%} of them points of the run"
        rows.append(("evaluations", f"{result.n_evals}, {share}"))
    if result.wall_time:
        inside = result.timings.get("target")
        part = "" if inside is None else f", {inside:.3g} s of them in the likelihood"
        rows.append(("time", f"{result.wall_time:.3g} s{part}"))
    if np.isfinite(result.rank_z):
        rows.append(("ranks of new points", f"z = {result.rank_z:.2f}"))
    if result.status != "complete" or not result.converged:
        ended = "converged" if result.converged else "not converged"
        rows.append(("status", f"{result.status}, {ended}"))
    wide = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{wide}}  {text}" for name, text in rows]
    head = headline(result)
    return "\n".join(
        [head, *lines, *_averages.table(result), *(f"warning: {w}" for w in result.warnings)]
    )
