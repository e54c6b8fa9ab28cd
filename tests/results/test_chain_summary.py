"""Headlines, tables and warnings of runs of Markov chains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from samples import run, texts, walks

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.results import chain_summary
from fermiac.results.chain_summary import convergence, findings


def test_chains_that_are_too_short() -> None:
    s = fm.Sample.from_arrays(np.arange(12.0).reshape(2, 3, 2))
    assert repr(s) == "Sample of 2 chains × 3 draws in 2 dimensions"
    assert "mcse" not in str(s.summary()).split("\n")[1]
    assert texts(s) == ["chains of 3 draws are too short to judge; draw 100 of each at least"]
    with pytest.raises(ArgumentError, match="2 chains of 3 draws given; 4 draws are needed"):
        s.expect(lambda x: x)
    one = fm.Sample.from_arrays(np.arange(2.0).reshape(1, 1, 2))
    assert "Sample of 1 chain × 1 draws" in str(one.summary())
    assert repr(fm.Sample.from_arrays(np.arange(6.0).reshape(1, 6, 1))).startswith(
        "Sample of 1 chain × 6 draws in 1 dimension: ESS ≥ "
    )


def test_a_good_run_is_not_blamed() -> None:
    energy = walks(4, 1000, 1, 0.0)[..., 0]
    s = run(
        energy=energy,
        diverging=np.zeros((4, 1000), bool),
        acceptance_rate=np.full((4, 1000), 0.8),
        reached_max_depth=np.arange(4000).reshape(4, 1000) < 30,
    )
    assert findings(s) == ()
    assert findings(run()) == ()
    assert findings(run(energy=np.full((4, 1000), np.nan))) == ()


def test_what_is_wrong_with_a_run() -> None:
    flags = np.zeros((4, 1000), bool)
    flags[1, :12] = True
    (text,) = texts(run(diverging=flags))
    assert text.startswith("12 of 4000 transitions (0.3 %) diverged")
    assert "raise the target acceptance" in text
    (text,) = texts(run(**{"x.diverging": flags, "y.diverging": ~flags & False}))
    assert text.startswith("12 of 4000 transitions of block x (0.3 %) diverged")
    rates = np.full((4, 1000), 0.7)
    rates[2:] = 1e-5
    (text,) = texts(run(acceptance_rate=rates))
    assert text.startswith(
        "2 of 4 chains stand still, with a mean acceptance of 1e-05: the run has"
    )
    energy = walks(4, 1000, 1, 0.99)[..., 0]
    (text,) = texts(run(energy=energy))
    least = fm.diagnostics.bfmi(energy).min()
    assert text.startswith(f"E-BFMI is down to {least:.2f}, below 0.3")
    depth = np.arange(4000).reshape(4, 1000) % 4 == 0
    (text,) = texts(run(reached_max_depth=depth))
    assert text.startswith("25 % of the transitions reached the largest tree depth")


def test_the_worst_coordinates_are_named() -> None:
    x = walks(4, 1000, 50, 0.3)
    x[0, :, [3, 7, 30, 41]] += np.array([1, 4, 2, 3])[:, None]
    first, second, *_ = texts(fm.Sample.from_arrays(x))
    rhat = fm.diagnostics.rhat(x)
    assert first.startswith(f"R-hat is up to {rhat[7]:.4g} (x[7], x[41], x[30] and 1 more)")
    assert second.startswith("the bulk ESS is down to ")
    assert "(x[7], x[41], x[30] and 1 more) and the tail ESS is down to" in second


def test_draws_are_judged_with_and_without_a_copy() -> None:
    x = walks(4, 250, 70, 0.5)
    every_other = np.repeat(x, 2, axis=2)[..., ::2]
    both = [convergence(fm.Sample.from_arrays(x[:m])) for x in (x, every_other) for m in (4, 1)]
    assert all(got is not None for got in both)
    whole, one, copied, one_copied = (got for got in both if got is not None)
    for a, b in ((whole, copied), (one, one_copied)):
        for name in ("bulk", "tail", "rhat_or_time"):
            assert len(getattr(a, name)) == 70
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(whole.tail, fm.diagnostics.ess(x, kind="tail"))


@pytest.mark.parametrize("n", [500, 5000])
@pytest.mark.parametrize("dim", [64, 120, 200])
def test_the_headline_names_the_worst_of_all_coordinates(dim: int, n: int) -> None:
    x = np.random.default_rng(0).standard_normal((4, n, dim), np.float32).astype(float)
    x[:2, :, -1] += 20
    x[2:, :, -1] -= 20
    first = repr(fm.Sample.from_arrays(x)).split("\n")[0]
    assert f"R-hat ≤ {fm.diagnostics.rhat(x[..., -1]):.3f} at x[{dim - 1}], ESS ≥ " in first


def test_the_headline_of_a_large_sample_looks_at_some_draws_of_all_coordinates() -> None:
    x = np.random.default_rng(1).standard_normal((4, 20_000, 60), np.float32).astype(float)
    x[0, :, 58] += 20
    s = fm.Sample.from_arrays(x)
    rhat = fm.diagnostics.rhat(x[:, ::2, 58])
    assert f"R-hat ≤ {rhat:.3f} at x[58], ESS ≥ " in repr(s)
    assert repr(s).endswith(" in 1 of 2 draws")
    got = convergence(s, every=2)
    assert got is not None
    assert len(got.bulk) == 60


def test_the_headline_of_a_run_is_that_of_its_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    law = fm.distributions.Normal(np.zeros(70))
    with pytest.warns(fm.errors.ConvergenceWarning):
        s = fm.mcmc.sample(law, kernel="rwm", n_warmup=50, n_draws=100, rng=0)
    monkeypatch.setattr(chain_summary, "convergence", None)  # not called again
    rhat = fm.diagnostics.rhat(s.draws)
    first = repr(s).split("\n")[0]
    assert f"R-hat ≤ {rhat.max():.3f} at x[{rhat.argmax()}]" in first
    assert first.endswith(", not converged")
    assert s.converged is False
    assert s.status == "complete"


def test_the_table() -> None:
    x = walks(4, 1000, 3, 0.6)
    s = fm.Sample.from_arrays(x, names=["a", "b", "long name"])
    lines = str(s.summary()).split("\n")
    assert lines[1].split() == "name mean sd 5% 50% 95% mcse_mean ess_bulk ess_tail rhat".split()
    shown = np.array([line[9:].split() for line in lines[2:5]], float)
    points = x.reshape(-1, 3)
    table = [
        points.mean(axis=0),
        points.std(axis=0, ddof=1),
        *np.quantile(points, [0.05, 0.5, 0.95], axis=0),
        fm.diagnostics.mcse(x),
        fm.diagnostics.ess(x),
        fm.diagnostics.ess(x, kind="tail"),
        fm.diagnostics.rhat(x),
    ]
    np.testing.assert_allclose(shown, np.transpose(table), rtol=6e-4)
    assert lines[5:] == ["4 chains × 1000 draws"]
    headline = repr(s)
    least = min(table[6].min(), table[7].min())
    assert headline == (
        f"Sample of 4 chains × 1000 draws in 3 dimensions: R-hat ≤ {table[8].max():.3f} at "
        f"{('a', 'b', 'long name')[np.argmax(table[8])]}, ESS ≥ {least:.0f}"
    )


def test_long_tables_are_cut_and_show_the_worst() -> None:
    x = walks(2, 400, 120, 0.2)
    x[0, :, 110] += 5
    s = fm.Sample.from_arrays(x)
    lines = str(s.summary()).split("\n")
    assert lines[2 + 39].startswith("x[39] ")
    rhat = fm.diagnostics.rhat(x[..., 110])
    assert lines[2 + 40].startswith(
        f"… and 80 more; of all, the largest R-hat is {rhat:.3f} (x[110])"
    )
    assert f"R-hat ≤ {rhat:.3f} at x[110], ESS ≥ " in repr(s)


def test_below_the_table_stands_how_the_run_went() -> None:
    flags = np.zeros((4, 1000), bool)
    flags[0, 0] = True
    s = replace(
        run(diverging=flags, energy=walks(4, 1000, 1, 0.0)[..., 0], reached_max_depth=~flags),
        settings={"n_warmup": 500, "bias": "discretisation"},
        seed=7,
        n_evals=123,
        wall_time=2.0,
        warnings=("told before",),
        status="interrupted",
    )
    lines = str(s.summary()).split("\n")
    assert lines[4] == (
        "4 chains × 1000 draws after 500 of warm-up, seed 7, 123 evaluations, 2 s, interrupted"
    )
    least = fm.diagnostics.bfmi(s.stats["energy"]).min()
    assert lines[5] == (
        f"divergences 1 (0.025 %); at the largest tree depth 100 %; least E-BFMI {least:.2f}"
    )
    assert "discretisation bias" in lines[6]
    assert lines[7] == "warning: told before"
    assert lines[8].startswith("warning: 1 of 4000 transitions")
    assert len(repr(s).split("\n")) <= 6


def test_the_size_of_chains_is_the_least_of_the_table() -> None:
    # Slow chains: as many draws as points, and an effective size of a few.
    s = fm.Sample.from_arrays(np.cumsum(fm.random.Stream(5).normal((4, 1000, 2)), axis=1))
    assert s.ess == fm.diagnostics.ess(s.draws).min()
    assert s.ess < 30
    assert isinstance(s.ess, float)
    # With weights the smaller one of both counts, for each law.
    even = replace(s, log_weights=np.zeros((4, 1000)))
    assert even.ess == s.ess
    narrow = np.full((4, 1000, 2), -np.inf)
    narrow[:, :, 0] = 0.0
    narrow[0, 0, 1] = 0.0
    np.testing.assert_array_equal(replace(s, log_weights=narrow).ess, [s.ess, 1.0])
    assert np.isnan(fm.Sample.from_arrays(s.draws[:, :3]).ess)


def test_the_size_of_walkers_is_that_of_the_table() -> None:
    draws = np.sin(np.cumsum(fm.random.Stream(3).normal((6, 2000, 2)), axis=1) * 0.02)
    s = replace(fm.Sample.from_arrays(draws), settings={"ensemble": True})
    column = str(s.summary()).splitlines()[1].split().index("ess_mean")
    sizes = [float(line.split()[column]) for line in str(s.summary()).splitlines()[2:4]]
    assert min(sizes) == round(float(s.ess))
