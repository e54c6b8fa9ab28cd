"""Statistics of labels of classes: text, whole numbers, several classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.resample import bootstrap, double_bootstrap, jackknife, little_bootstraps

_STREAM = fm.random.Stream(5)
TRUTH = _STREAM.integers(2, 80)
GUESS = np.where(_STREAM.uniform(80) < 0.75, TRUTH, 1 - TRUTH)
CLASSES = _STREAM.integers(3, 90)
GUESSED = np.where(_STREAM.uniform(90) < 0.6, CLASSES, _STREAM.integers(3, 90))
NAMES = np.array(["no", "yes"])
ANIMALS = np.array(["cat", "dog", "owl"])
OPTIONS: dict[str, Any] = {"n_resamples": 199, "rng": 0}


@pytest.mark.filterwarnings("ignore:a calibrated level")
@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "mcc", "kappa"])
def test_two_labels_of_any_type(name: str) -> None:
    plain = bootstrap((TRUTH, GUESS), name, **OPTIONS)
    assert "positive" not in plain.settings
    others = [(NAMES[TRUTH], NAMES[GUESS]), (TRUTH + 7, GUESS + 7.0),
              (NAMES[TRUTH].astype(object), NAMES[GUESS].tolist())]  # fmt: skip
    for x, later in zip(others, ("yes", 8, "yes"), strict=True):
        r = bootstrap(x, name, **OPTIONS)
        assert (r.lower, r.estimate, r.upper) == (plain.lower, plain.estimate, plain.upper)
        np.testing.assert_array_equal(r.replicates, plain.replicates)
        assert r.settings["positive"] == later
        assert jackknife(x, name).stderr == jackknife((TRUTH, GUESS), name).stderr
    table = np.stack([NAMES[TRUTH], NAMES[GUESS]], axis=1)
    assert bootstrap(table, name, **OPTIONS).upper == plain.upper
    few: dict[str, Any] = {"n_resamples": 100, "n_inner": 20, "rng": 0}
    ends = [double_bootstrap(x, name, **few).lower for x in ((TRUTH, GUESS), others[0])]
    assert ends[0] == ends[1]


def test_the_positive_label() -> None:
    for name in ("precision", "recall", "f1"):
        other = bootstrap((1 - TRUTH, 1 - GUESS), name, **OPTIONS)
        r = bootstrap((NAMES[TRUTH], NAMES[GUESS]), name, positive="no", **OPTIONS)
        assert r.settings["positive"] == "no"
        assert (r.lower, r.upper) == (other.lower, other.upper)
        assert bootstrap((TRUTH, GUESS), name, positive=0, **OPTIONS).lower == other.lower
        # Of several classes, one against the others.
        one = bootstrap((CLASSES == 2, GUESSED == 2), name, **OPTIONS)
        r = bootstrap((ANIMALS[CLASSES], ANIMALS[GUESSED]), name, positive="owl", **OPTIONS)
        assert (r.lower, r.upper) == (one.lower, one.upper)
    assert jackknife((NAMES[TRUTH], NAMES[GUESS]), "f1", positive="no").settings["positive"] == "no"


def _by_hand(name: str, truth: Any, guess: Any) -> float:
    """Return a statistic of three classes by its definition."""
    hits = [(truth == k) & (guess == k) for k in range(3)]
    if name == "kappa":
        agreed = np.mean(truth == guess)
        chance = sum(np.mean(truth == k) * np.mean(guess == k) for k in range(3))
        return float((agreed - chance) / (1 - chance))
    if name == "mcc":
        one = np.eye(3)
        t, g = one[truth] - one[truth].mean(0), one[guess] - one[guess].mean(0)
        return float((t * g).sum() / np.sqrt((t * t).sum() * (g * g).sum()))
    below = {"precision": [(guess == k).sum() for k in range(3)],
             "recall": [(truth == k).sum() for k in range(3)],
             "f1": [((truth == k).sum() + (guess == k).sum()) / 2 for k in range(3)]}  # fmt: skip
    return float(np.mean([h.sum() / b for h, b in zip(hits, below[name], strict=True)]))


@pytest.mark.filterwarnings("ignore:a calibrated level")
@pytest.mark.parametrize("name", ["kappa", "mcc", "f1", "precision", "recall"])
def test_several_classes(name: str) -> None:
    x = (ANIMALS[CLASSES], ANIMALS[GUESSED])
    r = bootstrap(x, name, **OPTIONS)
    assert r.estimate == pytest.approx(_by_hand(name, CLASSES, GUESSED), rel=1e-13)
    assert r.statistic == name
    assert r.settings["labels"] == ["cat", "dog", "owl"]
    assert r.settings.get("average") == (None if name in ("kappa", "mcc") else "macro")
    assert r.lower < r.estimate < r.upper
    rows = np.random.default_rng(0).integers(0, 90, (20, 90))
    given = bootstrap(x, name, indices=rows, rng=0)
    known = [_by_hand(name, CLASSES[row], GUESSED[row]) for row in rows]
    np.testing.assert_allclose(given.replicates, known, rtol=1e-12)
    bayes = bootstrap(x, name, scheme="bayesian", **OPTIONS)
    assert bayes.lower < bayes.estimate < bayes.upper
    assert jackknife(x, name).estimate == pytest.approx(r.estimate, rel=1e-13)
    whole = bootstrap((CLASSES, GUESSED), name, **OPTIONS)
    np.testing.assert_array_equal(whole.replicates, r.replicates)
    few: dict[str, Any] = {"n_resamples": 100, "n_inner": 20, "rng": 0}
    d = double_bootstrap(x, name, **few)
    assert d.statistic == name
    assert d.lower < d.estimate < d.upper


def test_a_class_that_no_resample_has() -> None:
    truth, guess = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 0])
    rows = np.array([[0, 1, 2, 3, 4, 4], [0, 1, 2, 2, 1, 0]])
    with pytest.warns(fm.errors.FermiacWarning):
        r = bootstrap((truth, guess), "recall", indices=rows, method="percentile")
    np.testing.assert_allclose(r.replicates, [(3 / 4 + 1) / 2, 1.0])


def test_accuracy_of_several_classes_is_a_proportion() -> None:
    r = bootstrap((ANIMALS[CLASSES], ANIMALS[GUESSED]), "accuracy", rng=0)
    hits = bootstrap((CLASSES == GUESSED).astype(float), "mean", rng=0)
    assert r.method == "wilson"
    assert (r.estimate, r.lower, r.upper) == (hits.estimate, hits.lower, hits.upper)


def test_intervals_of_kappa_cover() -> None:
    stream, inside = fm.random.Stream(6), 0
    # Guesses of the truth with probability 0.6, else of any of three classes.
    for key in range(60):
        truth = stream.integers(3, 100)
        guess = np.where(stream.uniform(100) < 0.6, truth, stream.integers(3, 100))
        r = bootstrap((truth, guess), "kappa", n_resamples=199, rng=key, prob=0.9)
        inside += r.lower <= 0.6 <= r.upper
    assert abs(inside - 54) < 5 * np.sqrt(60 * 0.9 * 0.1)


@pytest.mark.parametrize(
    ("x", "name", "positive", "text"),
    [
        ((NAMES[TRUTH], NAMES[GUESS]), "f1", "maybe", "'maybe' given, .* labels 'no', 'yes'"),
        ((TRUTH, GUESS), "f1", 2, "2 given, which is not among the labels 0, 1"),
        ((NAMES[TRUTH], NAMES[GUESS]), "kappa", "yes", "treats all labels alike"),
        ((TRUTH, GUESS), "pearson", 1, "it is for statistics of labels"),
        ((NAMES[TRUTH], GUESS), "f1", None, "cannot be compared"),
        ((TRUTH, GUESS + 0.25), "f1", None, "labels: text, booleans or whole numbers"),
        ((NAMES[TRUTH], NAMES[GUESS][1:]), "f1", None, "as many in each"),
        ((ANIMALS[CLASSES], ANIMALS[GUESSED][1:]), "accuracy", None, "as many in each"),
    ],
)
def test_bad_labels(x: Any, name: str, positive: Any, text: str) -> None:
    for call in (bootstrap, jackknife):
        with pytest.raises(ArgumentError, match=text):
            call(x, name, positive=positive)


def test_missing_labels() -> None:
    truth, guess = CLASSES.astype(float), GUESSED.astype(float)
    truth[3] = guess[5] = np.nan
    kept = np.isfinite(truth) & np.isfinite(guess)
    with pytest.raises(ArgumentError, match="NaN in 1 observations"):
        bootstrap((truth, guess), "kappa")
    r = bootstrap((truth, guess), "kappa", on_nan="omit", **OPTIONS)
    assert r.estimate == pytest.approx(_by_hand("kappa", CLASSES[kept], GUESSED[kept]))


def test_results_go_on(tmp_path: Any) -> None:
    a, b = (bootstrap((ANIMALS[CLASSES], ANIMALS[GUESSED]), "f1", n_resamples=n, rng=0)
            for n in (99, 199))  # fmt: skip
    np.testing.assert_array_equal(a.extend(100).replicates, b.replicates)
    two = bootstrap((NAMES[TRUTH], NAMES[GUESS]), "f1", n_resamples=99, rng=0)
    two.save(tmp_path / "f1.safetensors")
    loaded = fm.load(tmp_path / "f1.safetensors")
    assert loaded.settings["positive"] == "yes"
    np.testing.assert_array_equal(loaded.extend(20).replicates, two.extend(20).replicates)
    parts = [bootstrap((ANIMALS[CLASSES], ANIMALS[GUESSED]), "f1", n_resamples=199, rng=0,
                       plan=fm.Plan(part=(i, 2))) for i in range(2)]  # fmt: skip
    joined = bootstrap((ANIMALS[CLASSES], ANIMALS[GUESSED]), "f1", n_resamples=199, rng=0,
                       replicates=fm.merge(parts))  # fmt: skip
    np.testing.assert_array_equal(joined.replicates, b.replicates)


def test_little_bootstraps_take_zeros_and_ones() -> None:
    # The labels of a subset are not those of all.
    with pytest.raises(ArgumentError, match="0 and 1"):
        little_bootstraps((np.tile(CLASSES, 20), np.tile(GUESSED, 20)), "f1", rng=0)
