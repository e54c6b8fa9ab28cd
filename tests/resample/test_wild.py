"""The wild bootstrap: against refitted regressions, its level, doubtful data, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample import wild, wild_bootstrap


def clustered(seed: int, groups: int, size: int = 10) -> tuple[Any, Any, Any]:
    """A regression with slope 1 whose errors share a part within each cluster."""
    st = fm.random.Stream(seed)
    g = np.repeat(np.arange(groups), size)
    x = st.normal(groups)[g] + 0.5 * st.normal(groups * size)
    shared = st.normal(groups) * (1 + 0.5 * np.abs(x[::size]))
    return x, x + shared[g] + st.normal(groups * size), g


def refitted(design: Any, y: Any, g: Any) -> tuple[Any, Any]:
    """Coefficients and standard errors for clusters, by the textbook."""
    n, k = design.shape
    b = np.linalg.lstsq(design, y, rcond=None)[0]
    e = y - design @ b
    inverse = np.linalg.inv(design.T @ design)
    scores = [design[g == c].T @ e[g == c] for c in np.unique(g)]
    count = len(scores)
    factor = count / (count - 1) * (n - 1) / (n - k)
    middle = sum(np.outer(s, s) for s in scores)
    return b, np.sqrt(factor * np.diag(inverse @ middle @ inverse))


def brute(design: Any, y: Any, g: Any, j: int, value: float) -> float:
    """The p-value by refitting every combination of signs."""
    codes = np.unique(g, return_inverse=True)[1]
    count = codes.max() + 1
    b, se = refitted(design, y, g)
    keep = [i for i in range(design.shape[1]) if i != j]
    rest = y - value * design[:, j]
    fit = design[:, keep] @ np.linalg.lstsq(design[:, keep], rest, rcond=None)[0]
    base, e = fit + value * design[:, j], rest - fit
    t = abs(b[j] - value) / se[j]
    hits = 0
    for code in range(2**count):
        v = 1.0 - 2.0 * ((code >> np.arange(count)) & 1)
        again, spread = refitted(design, base + e * v[codes], g)
        hits += abs(again[j] - value) / spread[j] >= t * (1 - 1e-9)
    return hits / 2**count


@pytest.mark.filterwarnings("ignore:6 clusters")
def test_all_signs_agree_with_refitted_regressions() -> None:
    x, y, _ = clustered(3, 6, 6)
    g = np.asarray(fm.random.Stream(4).integers(6, 36))  # of unequal sizes, in no order
    x = np.stack([x, fm.random.Stream(5).normal(36)], axis=1)
    r = wild_bootstrap((x, y), clusters=g, multipliers="rademacher", rng=0)
    design = np.column_stack([np.ones(36), x])
    b, se = refitted(design, y, g)
    np.testing.assert_allclose(r.estimate, b, rtol=1e-12)
    np.testing.assert_allclose(r.stderr, se, rtol=1e-12)
    assert r.exact
    assert r.n_resamples == 32
    for j in range(3):
        assert r.pvalue[j] == brute(design, y, g, j, 0.0)
    step = 1e-6 * se[1]
    for end, side in ((r.lower[1], -1), (r.upper[1], 1)):
        inside = brute(design, y, g, 1, end - side * step)
        outside = brute(design, y, g, 1, end + side * step)
        assert outside <= 0.05 < inside
    assert (r.mc_error == 0).all()


@pytest.mark.filterwarnings("ignore:9 observations")
def test_observations_without_clusters() -> None:
    """White's standard errors, and p-values of drawn signs against refitted ones."""
    st = fm.random.Stream(6)
    x, y = st.normal(9), st.normal(9)
    with pytest.warns(FermiacWarning, match="observations are few"):
        wild_bootstrap((x, y), rng=0)
    r = wild_bootstrap((x, y), multipliers="rademacher", rng=0)
    design = np.column_stack([np.ones(9), x])
    _, se = refitted(design, y, np.arange(9))
    np.testing.assert_allclose(r.stderr, se * np.sqrt(8 / 9 * 9 / 8), rtol=1e-12)
    assert r.exact
    assert r.pvalue[1] == brute(design, y, np.arange(9), 1, 0.0)
    drawn = wild_bootstrap((x, y), multipliers="rademacher", n_resamples=200, rng=0)
    assert not drawn.exact
    assert abs(drawn.pvalue[1] - r.pvalue[1]) < 5 * np.sqrt(0.25 / 200)
    null = wild_bootstrap((x, y), multipliers="rademacher", null=r.estimate, rng=0)
    np.testing.assert_array_equal(null.pvalue, 1.0)


def test_many_clusters_take_another_path(monkeypatch: pytest.MonkeyPatch) -> None:
    st = fm.random.Stream(7)
    x, y = st.normal((300, 2)), st.normal(300)
    for name in ("rademacher", "mammen", "webb"):
        more: Any = {"multipliers": name, "n_resamples": 199, "rng": 1}
        a = wild_bootstrap((x, y), **more)
        with monkeypatch.context() as patch:
            patch.setattr(wild, "_DIRECT", 10**6)
            b = wild_bootstrap((x, y), **more)
        np.testing.assert_array_equal(a.pvalue, b.pvalue)
        np.testing.assert_allclose(a.lower, b.lower, rtol=1e-9)


@pytest.mark.parametrize("name", ["rademacher", "mammen", "webb"])
def test_multipliers_have_their_moments(name: Any) -> None:
    v = wild._MULTIPLIERS.resolve(name).draw(fm.random.Stream(1), 40_000)
    third = {"mammen": 1.0}.get(name, 0.0)
    for power, known in ((1, 0.0), (2, 1.0), (3, third)):
        moment = v**power
        assert abs(moment.mean() - known) < 5 * moment.std() / 200 + 1e-12
    sizes = {"rademacher": 2, "mammen": 2, "webb": 6}
    assert len(np.unique(v)) == sizes[name]


def test_the_level_with_few_clusters() -> None:
    """Intervals of 150 data sets with 10 clusters, beside those of normal quantiles."""
    held = plain = 0
    for seed in range(1000, 1150):
        x, y, g = clustered(seed, 10)
        r = wild_bootstrap(
            (x, y), clusters=g, n_resamples=399, rng=seed, plan=fm.Plan(progress=False)
        )
        held += bool(r.lower[1] < 1 < r.upper[1])
        plain += bool(abs(r.estimate[1] - 1) < 1.96 * r.stderr[1])
    assert 0.90 <= held / 150 <= 0.99
    assert plain / 150 < held / 150 - 0.05


def test_the_seed_and_pinned_values() -> None:
    x, y, g = clustered(11, 12)
    a = wild_bootstrap((x, y), clusters=g, n_resamples=199, rng=1)
    b = wild_bootstrap((x, y), clusters=g, n_resamples=199, rng=1)
    c = wild_bootstrap((x, y), clusters=g, n_resamples=199, rng=2)
    assert a.multipliers == "rademacher"
    assert (a.lower == b.lower).all()
    assert (a.lower != c.lower).any()
    np.testing.assert_allclose(a.lower, [-1.186999718605717, -0.9109212766140997], rtol=1e-9)
    # Labels of any kind.
    text = wild_bootstrap((x, y), clusters=[f"g{c:02d}" for c in g], n_resamples=199, rng=1)
    assert (text.lower == a.lower).all()


def test_files_and_tables(tmp_path: Path) -> None:
    x, y, g = clustered(12, 12)
    r = wild_bootstrap((x, y), clusters=g, n_resamples=199, rng=1, names=["one", "slope"])
    assert r.summary()["slope"]["estimate"] == r.estimate[1]
    assert "WildBootstrap" in repr(r)
    r.save(tmp_path / "r.safetensors")
    loaded = fm.load(tmp_path / "r.safetensors")
    assert isinstance(loaded, fm.resample.WildBootstrap)
    assert loaded.to_dict() == r.to_dict()


def test_doubts() -> None:
    x, y, g = clustered(13, 4)
    with pytest.warns(FermiacWarning) as given:
        r = wild_bootstrap((x, y), clusters=g, multipliers="rademacher", rng=0)
    assert "4 clusters" in str(given[0].message)
    assert np.isinf(r.upper[1] - r.lower[1])
    assert any("no end" in str(w.message) for w in given)
    x, y, g = clustered(14, 12)
    with pytest.warns(FermiacWarning, match="an indicator of one cluster"):
        wild_bootstrap(((g == 3).astype(float), y), clusters=g, n_resamples=99, rng=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multipliers": "normal"}, "multipliers"),
        ({"n_resamples": 0}, "n_resamples"),
        ({"prob": 1.0}, "prob"),
        ({"null": [0.0, 1.0, 2.0]}, "null"),
        ({"null": np.nan}, "null"),
        ({"null": np.inf}, "null"),
        ({"restricted": False}, "restricted: removed; it is always True"),
        ({"clusters": np.zeros(24)}, "two are needed"),
        ({"clusters": [1, 2]}, "clusters"),
        ({"names": ["a"]}, "names"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    x, y, _ = clustered(1, 6, 4)
    with pytest.raises(ArgumentError, match=message):
        wild_bootstrap((x, y), rng=0, **arguments)


def test_data_that_cannot_be_used() -> None:
    x, y, _ = clustered(1, 6, 4)
    for given, message in [
        (y, "tuple"),
        ((x, y, y), "tuple"),
        ((x, y[:-1]), "as many"),
        ((np.ones(24), y), "full rank"),
        ((x[:2], y[:2]), "4 are needed"),
        ((x * np.nan, y), "NaN"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            wild_bootstrap(given, rng=0)  # type: ignore[arg-type]


def test_an_interrupt_hands_out_the_replicates_so_far() -> None:
    x, y, g = clustered(15, 12)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        wild_bootstrap(
            (x, y), clusters=g, n_resamples=2**17, multipliers="webb", plan=fm.Plan(progress=stop)
        )
    part = stopped.value.partial_result
    assert part.status == "interrupted"
    assert 99 <= part.n_resamples < 2**17


def test_parts_stores_and_interrupts(tmp_path: Path) -> None:
    x, y, g = clustered(1, 10)

    def call(**given: Any) -> Any:
        return wild_bootstrap((x, y), clusters=g, **{"n_resamples": 999, "rng": 0, **given})

    whole = call()
    parts = [call(plan=fm.Plan(part=(i, 2))) for i in range(2)]
    # Another null hypothesis needs no other resamples.
    other = call(null=1.0, replicates=fm.merge(parts))
    np.testing.assert_array_equal(other.pvalue, call(null=1.0).pvalue)
    with pytest.raises(ArgumentError, match="of another call"):
        call(multipliers="mammen", replicates=fm.merge(parts))

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    for store in (None, tmp_path):
        with pytest.raises(KeyboardInterrupt) as stopped:
            call(plan=fm.Plan(store=store, progress=stop))
        partial = stopped.value.partial_result  # type: ignore[attr-defined]
        assert 99 <= partial.n_resamples < 999
    np.testing.assert_array_equal(call(plan=fm.Plan(store=tmp_path)).upper, whole.upper)
    own = wild.Multipliers("mine", wild._mammen)
    named = wild_bootstrap((x, y), multipliers="mammen", n_resamples=500, rng=0)
    apart = [
        wild_bootstrap((x, y), multipliers=own, n_resamples=500, rng=0, plan=fm.Plan(part=(i, 3)))
        for i in range(3)
    ]
    given = wild_bootstrap(
        (x, y), multipliers=own, n_resamples=500, rng=0, replicates=fm.merge(apart)
    )
    np.testing.assert_allclose(given.upper, named.upper, rtol=1e-12)
