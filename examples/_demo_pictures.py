"""Figures of the demo; each function writes a PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

Array = NDArray[np.float64]
BLUE, ORANGE, GREY = "#1f5fa8", "#d9641e", "#777777"
#: Colours of chains; the first one is for the chain without history.
SHADES = ("#777777", "#3a9e5c", "#d9641e", "#5aa0e0", "#123a70")
Z95 = 1.96


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130)
    plt.close(figure)


def distress_curve(
    path: Path,
    temperature: Array,
    mean: Array,
    stderr: Array,
    exact: Array,
    curve: tuple[Array, Array],
    launches: tuple[Array, Array],
    n_evals: int,
) -> None:
    """Draw the posterior probability of distress by temperature, and the errors of estimates."""
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 7), sharex=True, height_ratios=(3, 1.4), layout="constrained"
    )
    launch_t, distress = launches
    # Launches at the same temperature are shifted apart.
    same = (launch_t[:, None] == launch_t) & (distress[:, None] == distress)
    offset = 0.025 * np.tril(same, k=-1).sum(axis=1)
    height = np.where(distress > 0, 1.04 + offset, -0.04 - offset)
    for value, colour, label in ((1, ORANGE, "launch with distress"), (0, GREY, "launch without")):
        at = distress == value
        top.plot(launch_t[at], height[at], "o", color=colour, ms=5, label=f"{label} ({at.sum()})")
    top.plot(*curve, "-", color=GREY, lw=1.2, label="quadrature (exact)")
    top.errorbar(
        temperature, mean, Z95 * stderr, fmt="s", ms=4, color=BLUE, capsize=3,
        label="estimate, 95 % bars (smaller than the marker)",
    )  # fmt: skip
    top.annotate(
        f"31 °F, the day of the accident: {mean[0]:.4f} ± {stderr[0]:.4f}",
        (temperature[0], mean[0]), (31, 0.62), arrowprops={"arrowstyle": "->", "color": GREY},
    )  # fmt: skip
    top.set_ylabel("posterior probability of O-ring distress")
    top.set_ylim(-0.2, 1.2)
    top.set_title(
        f"O-ring distress at {len(temperature)} temperatures, from one run of {n_evals:,} points"
    )
    top.legend(loc="center left", bbox_to_anchor=(0.0, 0.3), fontsize=9)
    bottom.axhline(0.0, color=GREY, lw=1.2)
    bottom.errorbar(
        temperature, 1e3 * (mean - exact), 1e3 * Z95 * stderr, fmt="s", ms=4, color=BLUE, capsize=3
    )
    bottom.set_ylabel("estimate − exact\n(thousandths)")
    bottom.set_title("Errors with 95 % bars; they share one sample, so neighbours err together")
    bottom.set_xlabel("temperature at launch (°F)")
    _save(figure, path)


def correlation_matrix(path: Path, names: Sequence[str], cov: Array) -> None:
    """Draw the correlations of the Monte Carlo errors."""
    sd = np.sqrt(np.diag(cov))
    figure, axes = plt.subplots(figsize=(8.5, 7.5), layout="constrained")
    image = axes.imshow(cov / np.outer(sd, sd), vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_title(
        "Correlation of the O-ring estimates' errors: all share one sample,\n"
        "and the full covariance comes with them"
    )
    figure.colorbar(image, ax=axes, shrink=0.8, label="correlation")
    _save(figure, path)


def beam_errors(
    path: Path, exact: Array, mean: Array, stderr: Array, gain: Array, total_gain: float
) -> None:
    """Draw the relative errors of the 100 expectations, and the gain over separate runs."""
    order = np.argsort(exact)
    exact, mean, stderr = exact[order], mean[order], stderr[order]
    error, bar = 100.0 * (mean / exact - 1.0), 100.0 * Z95 * stderr / exact
    rank = np.arange(1, len(exact) + 1)
    inside = np.abs(error) <= bar
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, 7.5), sharex=True, layout="constrained"
    )  # fmt: skip
    top.axhline(0.0, color=GREY, lw=1.2, label="exact (quadrature)")
    top.errorbar(
        rank[inside], error[inside], bar[inside], fmt="o", ms=3, color=BLUE, lw=0.9,
        label=f"95 % bar contains the exact value ({inside.sum()})",
    )  # fmt: skip
    top.errorbar(
        rank[~inside], error[~inside], bar[~inside], fmt="o", ms=3, color=ORANGE, lw=0.9,
        label=f"95 % bar misses it ({(~inside).sum()}; 5 on average, but errors are correlated)",
    )  # fmt: skip
    top.set_ylabel("estimate − exact (% of exact)")
    top.set_title("Mean deflection of a beam under 100 input laws, from one run of one model")
    reach = float(np.max(np.abs(error) + bar))
    top.set_ylim(-1.1 * reach, 1.9 * reach)
    top.legend(loc="upper left", fontsize=9)

    bottom.semilogy(rank, gain[order], "o", ms=4, color=BLUE, label="one law")
    bottom.axhline(
        total_gain, color=BLUE, lw=1.2, ls="--", label=f"all laws together: {total_gain:.0f} times"
    )
    bottom.axhline(1.0, color=GREY, lw=1.2, label="no gain")
    bottom.set_ylabel("variance of separate Monte Carlo\n÷ variance of one shared run")
    bottom.set_xlabel("input law, from the smallest to the largest mean deflection")
    bottom.set_title("Gain over separate Monte Carlo at the same number of model calls")
    bottom.set_ylim(0.6, 4.0 * float(gain.max()))
    bottom.legend(loc="upper left", fontsize=9, ncols=3)
    _save(figure, path)


def stage_history(path: Path, runs: Mapping[str, Any]) -> None:
    """Draw the variance forecasts of the stages, which decide when the adaptation stops."""
    figure, panels = plt.subplots(
        1, len(runs), figsize=(5.6 * len(runs), 5.2), layout="constrained", squeeze=False
    )
    sums = {"relative": "sum of relative variances", "absolute": "sum of variances"}
    for axes, (title, run) in zip(panels[0], runs.items(), strict=True):
        used = [stage["used"] for stage in run.stages]
        forecast = [stage["forecast"] for stage in run.stages]
        axes.semilogy(used, forecast, "o-", color=BLUE, label="sampler of a stage")
        axes.plot(
            used[run.chosen_stage], forecast[run.chosen_stage], "o", ms=13, mfc="none",
            mec=ORANGE, mew=2, label="chosen: the final sample is drawn from it",
        )  # fmt: skip
        for stage, x, y in zip(run.stages, used, forecast, strict=True):
            name = "0: the law itself" if stage["stage"] == 0 else str(stage["stage"])
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(9, 6), fontsize=9)
        axes.set_title(title)
        axes.set_xlabel(f"evaluations up to the end of the stage (of {run.n_evals:,} in all)")
        axes.set_ylabel(f"forecast: {sums[run.settings['weights']]}")
        axes.set_xticks(used, [f"{x:,}" for x in used])
        axes.set_ylim(0.5 * min(forecast), 12.0 * max(forecast))
        axes.margins(x=0.15)
        axes.legend(loc="upper right", fontsize=9)
    figure.suptitle(
        "Adaptation, stage by stage: the variance to expect if all remaining evaluations\n"
        "were drawn from the sampler of that stage"
    )
    figure.supxlabel(
        "A forecast is made when its stage ends. Later points correct it: the last two samplers "
        "are compared anew on all points before one is chosen.",
        fontsize=9, color=GREY,
    )  # fmt: skip
    _save(figure, path)


def failure(path: Path, g: Callable[[Array], Array], estimate: Any) -> None:
    """Draw the regions of failure of a plane, their shares, and the levels of the walk."""
    line = np.linspace(-6.0, 6.0, 241)
    x, y = np.meshgrid(line, line)
    values = g(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    figure, axes = plt.subplots(figsize=(6, 5.6), layout="constrained")
    axes.contourf(x, y, values, levels=[-np.inf, 0.0], colors=[ORANGE], alpha=0.3)
    levels = sorted({level["threshold"] for level in estimate.levels if level["threshold"] > 0})
    lines = axes.contour(x, y, values, levels=[0.0, *levels], colors=BLUE, linewidths=0.9)
    axes.clabel(lines, fmt="%.2g", fontsize=8)
    for region in estimate.regions:
        at = region["point"]
        axes.plot(*at, "k*", ms=11)
        axes.annotate(
            f"{region['weight']:.0%}", at, xytext=(7, 5), textcoords="offset points", fontsize=10
        )
    axes.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    walked = estimate.subset
    axes.set_title(
        f"P = {estimate.mean:.3e} ± {estimate.stderr:.0e}; "
        f"the walk says {walked['mean']:.2e} ± {walked['stderr']:.0e}",
        fontsize=10,
    )
    _save(figure, path)


def schools(
    path: Path,
    data: tuple[Array, Array],
    mean: Array,
    stderr: Array,
    exact: Array,
    log_tau: tuple[Array, Array],
    curve: tuple[Array, Array],
) -> None:
    """Draw the posterior means of the eight effects, and the posterior of their spread."""
    effect, error = data
    names = np.arange(len(effect))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.8), layout="constrained")
    left.errorbar(
        names - 0.12, effect, error, fmt="o", ms=4, color=GREY, lw=0.9, label="data ± its error"
    )
    left.errorbar(
        names + 0.12, mean, Z95 * stderr, fmt="s", ms=5, color=BLUE, capsize=3,
        label="posterior mean, 95 % bars of the estimate",
    )  # fmt: skip
    left.plot(names + 0.12, exact, "_", ms=16, color=ORANGE, label="quadrature (exact)")
    left.set_xticks(names, list("ABCDEFGH"))
    left.set_xlabel("school")
    left.set_ylabel("effect of coaching (points)")
    left.set_title("Eight effects, drawn together by what they share")
    left.legend(loc="upper right", fontsize=9)
    draws, weights = log_tau
    edges = np.linspace(-4.0, 4.0, 49)
    height, _ = np.histogram(draws, edges, weights=weights)
    right.stairs(
        height / np.diff(edges), edges, fill=True, color=BLUE, alpha=0.35, label="weighted draws"
    )
    right.plot(*curve, color=ORANGE, lw=1.4, label="quadrature (exact)")
    right.set_xlim(edges[0], edges[-1])
    right.set_xlabel("log τ, τ the spread between schools")
    right.set_ylabel("posterior density")
    right.set_title("What the data say of that spread")
    right.legend(loc="upper left", fontsize=9)
    _save(figure, path)


def privacy(path: Path, kept: Any, broken: Any, weak: Any) -> None:
    """Draw posteriors with a claim, error rates with the allowed ones, and a ROC curve."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 10), layout="constrained")
    for axes, finding, title in (
        (panels[0, 0], kept, "Training that claims ε = 1"),
        (panels[0, 1], broken, "The same, but it forgets to clip"),
    ):
        finding.posterior.plot(axes, claim=finding.setting.claim)
        axes.set_xlim(left=0.0)
        axes.set_title(title)
    broken.posterior.plot_region(panels[1, 0], epsilon=broken.setting.claim)
    counts = broken.audit.counts
    fpr = counts["fp"] / (counts["fp"] + counts["tn"])
    fnr = counts["fn"] / (counts["fn"] + counts["tp"])
    panels[1, 0].set_xlim(max(fpr - 0.1, 0.0), min(fpr + 0.1, 1.0))
    panels[1, 0].set_ylim(max(fnr - 0.1, 0.0), min(fnr + 0.1, 1.0))
    panels[1, 0].set_aspect("auto")
    panels[1, 0].set_title("Error rates of the attack on it, and what ε = 1 allows")
    weak.audit.plot(panels[1, 1])
    panels[1, 1].set_title("Training that claims ε = 8: ROC and 95 % lower bound")
    figure.suptitle("Attacks that see all gradients: was the mislabelled digit in?")
    _save(figure, path)


def traces(path: Path, sample: Any) -> None:
    """Draw traces and ranks of the mean of the eight schools and the log of their spread."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), layout="constrained")
    sample.plot_trace(axes[:, 0], columns=[0, 1])
    sample.plot_ranks(axes[:, 1], columns=[0, 1])
    _save(figure, path)


def energies(path: Path, sample: Any) -> None:
    """Draw the energies and their changes between draws."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    sample.plot_energy(axis)
    _save(figure, path)


def walk_errors(path: Path, networks: Mapping[str, Sequence[Any]], steps: NDArray[Any]) -> None:
    """Draw the errors of walks by the number of steps, with the theory."""
    figure, panels = plt.subplots(1, len(networks), figsize=(12, 5.4), layout="constrained")
    for axes, (title, courses) in zip(panels, networks.items(), strict=True):
        for course, colour in zip(courses, SHADES, strict=True):
            axes.loglog(
                steps, np.sqrt(course.mse), "o", ms=4.5, color=colour, label=course.chain.name
            )
            axes.loglog(steps, np.sqrt(course.variance / steps), "-", lw=1.2, color=colour)
        axes.set_title(title)
        axes.set_xlabel("steps of one walker")
        axes.grid(alpha=0.25, which="major")
    panels[0].set_ylabel("root mean square error of one walker's average")
    panels[0].plot([], [], "-", color=GREY, lw=1.2, label="theory: (V / n)^½, in the limit")
    panels[0].legend(loc="lower left", fontsize=9)
    figure.suptitle("Averages over the nodes of two networks: history divides their variance")
    _save(figure, path)


def walk_visits(
    path: Path, graph: Any, places: Array, seen: Mapping[str, tuple[Array, Array]]
) -> None:
    """Draw the visits of one walker, and the distance from the target by steps."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 9.6), layout="constrained")
    matrix = graph.to_scipy().tocoo()
    segments = np.stack([places[matrix.row], places[matrix.col]], axis=1)
    drawn = None
    for axes, (name, (first, _)) in zip(panels.flat, seen.items(), strict=False):
        axes.add_collection(LineCollection(segments, colors="#bbbbbb", linewidths=0.4, zorder=1))
        # Nodes without a visit have the colour of an eighth of their share.
        drawn = axes.scatter(
            *places.T, s=70, c=np.log2(np.maximum(first, 1 / 8)), cmap="RdBu_r", vmin=-2, vmax=2,
            edgecolors=GREY, linewidths=0.6, zorder=2,
        )  # fmt: skip
        axes.set_title(
            f"{name}: visits from {first.min():.1f} to {first.max():.1f} times the target,\n"
            f"{np.count_nonzero(first == 0)} of {len(first)} characters never visited",
            fontsize=10,
        )
        axes.set_axis_off()
    bar = figure.colorbar(drawn, ax=panels[0, 1], shrink=0.8, extend="both")
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["¼", "½", "1", "2", "4"])
    bar.set_label("visits ÷ target")
    axes = panels[1, 1]
    for (name, (_, distances)), colour in zip(seen.items(), (GREY, ORANGE, BLUE), strict=True):
        n = len(distances)
        axes.loglog(np.arange(1, n + 1), distances, color=colour, lw=1.6, label=name)
    axes.set_xlabel("steps of a walker ÷ nodes")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("total variation of its visits from the target")
    axes.set_title("Mean of all walkers", fontsize=10)
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize=9)
    figure.suptitle(
        "Les Misérables, every character to be visited as often as any other:\n"
        f"visits of one walker after {n} steps per character"
    )
    _save(figure, path)


def tokens(path: Path, runs: Sequence[Any]) -> None:
    """Draw the convergence of tokens of several repellences, with the theory."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
    for run, colour in zip(runs, SHADES[-len(runs) :], strict=True):
        left.loglog(run.steps, run.excess, "-", lw=1.5, color=colour, label=f"α = {run.alpha:g}")
        right.loglog(run.steps, run.square, "o", ms=3.5, color=colour, label=f"α = {run.alpha:g}")
        # The theory is linear and does not hold for the first, long steps.
        late = run.steps >= 1000
        right.loglog(run.steps[late], run.predicted[late], "-", lw=1.2, color=colour)
    left.set_ylabel("mean loss of all tumours − its least value")
    left.set_title("Loss")
    left.legend(loc="lower left", fontsize=9)
    right.set_ylabel("mean square distance from the optimum")
    right.set_title("Parameters, and their predicted errors")
    right.plot([], [], "-", color=GREY, lw=1.2, label="predicted (linear theory)")
    right.legend(loc="lower left", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("steps of a token")
        axes.grid(alpha=0.25, which="major")
    figure.suptitle("A logistic regression by tokens on a network: repellence divides the error")
    _save(figure, path)


def drawn(path: Path, axes: Any, title: str, labels: Mapping[str, str]) -> None:
    """Save the figure of a result, with labels in place of names."""
    every = np.ravel(np.asarray(axes, dtype=object))
    for one in every:
        one.set_xlabel(labels.get(one.get_xlabel(), one.get_xlabel()))
        one.set_ylabel(labels.get(one.get_ylabel(), one.get_ylabel()))
    every[0].figure.align_ylabels()
    every[0].figure.suptitle(title)
    _save(every[0].figure, path)


def hubble_rates(path: Path, data: Any, z: Array, bands: Mapping[str, Array]) -> None:
    """Draw measured expansion rates with the posterior rates of several models."""
    figure, axes = plt.subplots(figsize=(8.5, 5.4), layout="constrained")
    for (title, (low, middle, high)), colour in zip(
        bands.items(), (GREY, BLUE, ORANGE), strict=True
    ):
        axes.fill_between(z, low, high, color=colour, alpha=0.13, lw=0)
        axes.plot(z, np.transpose([low, high]), color=colour, lw=0.8, ls="--")
        axes.plot(z, middle, color=colour, lw=1.6, label=title)
    axes.errorbar(
        data.z, data.rate, data.error, fmt="o", ms=4, color="black", lw=0.8, capsize=2,
        label=f"{len(data.z)} measurements",
    )  # fmt: skip
    axes.set_xlim(-0.03, z[-1])
    axes.set_xlabel("redshift z")
    axes.set_ylabel("expansion rate H(z) (km/s/Mpc)")
    axes.set_title("What the rates say of three universes: posterior medians, 5 % and 95 %")
    axes.legend(loc="upper left", fontsize=9)
    _save(figure, path)


def eggbox(
    path: Path, log_likelihood: Callable[[Array], Array], side: float, dead: Array, draws: Array
) -> None:
    """Draw dead points by their likelihood level, and posterior draws."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 5.9), layout="constrained")
    whole, near = panels
    middle, reach = 4 * np.pi, 0.75
    edges = (0.0, side), (middle - reach, middle + reach)
    for axes, ends, size in zip(panels, edges, (1.5, 4.5), strict=True):
        line = np.linspace(*ends, 241)
        grid = np.stack(np.meshgrid(line, line), axis=-1)
        levels = log_likelihood(grid.reshape(-1, 2)).reshape(grid.shape[:2])
        if axes is whole:
            shade = axes.imshow(
                levels, cmap="Greys", alpha=0.7, origin="lower", extent=(*ends, *ends),
                interpolation="bilinear",
            )  # fmt: skip
            figure.colorbar(shade, ax=axes, label="log-likelihood", shrink=0.9)
        else:
            heights = [200, 210, 220, 230, 235, 240]
            rings = axes.contour(line, line, levels, heights, colors=GREY, linewidths=0.9)
            axes.clabel(rings, fontsize=8)
        axes.plot(*dead.T, ".", color=BLUE, ms=size, alpha=0.6, label=f"{len(dead):,} dead points")
        axes.plot(*draws.T, ".", color=ORANGE, ms=size, label=f"{len(draws):,} posterior draws")
        axes.set_aspect("equal")
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_xlabel("x")
        axes.set_ylabel("y")
    whole.set_title("Eighteen modes of one height")
    near.set_title("One of them, with levels of the log-likelihood")
    handles, labels = whole.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, markerscale=4)
    _save(figure, path)


def evaluation(
    path: Path,
    errors: Mapping[str, Any],
    pvalues: Mapping[str, Array],
    problems: Sequence[str],
    coverage: Mapping[str, Sequence[float]],
) -> None:
    """Draw error rates beside their known values, p-values of equal learners, and coverage."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(13.5, 4.8), layout="constrained", width_ratios=(1, 1, 1.5)
    )
    for i, found in enumerate(errors.values()):
        at = i + np.linspace(-0.32, 0.32, len(found["estimate"]))
        left.plot(
            at,
            found["resubstitution"],
            "x",
            color=ORANGE,
            ms=4,
            label=None if i else "on the images that were fitted",
        )
        left.errorbar(
            at,
            found["estimate"],
            Z95 * np.array(found["stderr"]),
            fmt="o",
            ms=3,
            color=BLUE,
            lw=0.8,
            label=None if i else ".632+, 95 %",
        )
        left.hlines(
            found["known"],
            i - 0.4,
            i + 0.4,
            color=GREY,
            lw=2,
            label=None if i else "on all other images",
        )
    left.set_xticks(range(len(errors)), list(errors))
    left.set(title="Error rates of two learners", ylabel="error rate", ylim=(-0.01, 0.3))
    left.legend(fontsize=8, loc="upper center")
    for (name, p), colour in zip(pvalues.items(), (ORANGE, BLUE), strict=True):
        middle.step(
            np.sort(p), np.arange(1, p.size + 1) / p.size, where="post", color=colour, label=name
        )
    middle.plot([0, 1], [0, 1], ":", color=GREY, label="as it should be, at most")
    middle.axvline(0.05, color=GREY, lw=0.6)
    middle.set(title="Two equal learners", xlabel="p-value", ylabel="share of data sets below")
    middle.legend(fontsize=8, loc="lower right")
    height = np.arange(len(problems))[::-1]
    marks = {
        "auto": ("o", BLUE, "fermiac"),
        "SciPy percentile": ("|", GREY, "SciPy, percentile"),
        "SciPy basic": ("x", GREY, "SciPy, basic"),
        "SciPy BCa": ("s", ORANGE, "SciPy, BCa"),
    }
    right.axvspan(0.93, 0.97, color="#e8eef6")
    for name, (mark, colour, label) in marks.items():
        if name in coverage:
            right.plot(
                np.maximum(coverage[name], 0.7), height, mark, color=colour, label=label, ms=5
            )
    right.set_yticks(height, problems, fontsize=8)
    right.set(
        title="Coverage of 95 % intervals", xlabel="share that holds the truth", xlim=(0.69, 1.0)
    )
    right.legend(fontsize=8, loc="lower left")
    _save(figure, path)
