"""Base chains and kernels as objects, as names, and in the settings of results."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from walk_runs import BARBELL, BELOW, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.walks.chains import CHAINS, BaseChain, Lazy
from fermiac.walks.kernels import KERNELS, HistoryKernel, Schedule

W = fm.walks


@pytest.mark.parametrize("name", CHAINS.names)
def test_every_chain_is_public_and_has_a_name(name: str) -> None:
    chain = CHAINS.resolve(name)
    assert getattr(W, type(chain).__name__) is type(chain)
    assert chain.name == name
    assert pickle.loads(pickle.dumps(chain)) == chain
    assert CHAINS.resolve(chain) is chain
    assert chain.core(BARBELL)["name"] == chain.inner.name


@pytest.mark.parametrize("name", KERNELS.names)
def test_every_kernel_is_public_and_has_a_name(name: str) -> None:
    kernel = KERNELS.resolve(name)
    assert getattr(W, type(kernel).__name__) is type(kernel)
    assert kernel.name == name
    assert pickle.loads(pickle.dumps(kernel)) == kernel


@pytest.mark.parametrize(
    ("names", "objects"),
    [
        (("hdt", "mhda", 3.0), (W.HDT(alpha=3), W.MHDA())),
        (("srrw", "srw", 5.0), (W.SRRW(), W.SRW())),
        (("tsaw", "mhrw", ("log", 1.0, 2.0)), (W.TSAW(("log", 1, 2)), W.MHRW())),
        (("none", "nbrw"), (W.Plain(), W.NBRW())),
        (("rotor", "srw"), (W.Rotor(), W.SRW())),
        (("none", Lazy("mhrw", 0.3)), (W.Plain(), Lazy(W.MHRW(), 0.3))),
        (("hdt", "mtm"), (W.HDT(), W.MTM())),
    ],
)
def test_objects_walk_as_their_names_do(names: Any, objects: Any) -> None:
    one, two = walk(BARBELL, *names), walk(BARBELL, *objects)
    same(one, two)
    assert one.settings == two.settings
    assert isinstance(one.settings["kernel"], str)
    assert isinstance(one.settings["base"], str)


def test_the_settings_of_a_history_are_for_the_history_driven_target() -> None:
    same(walk(kernel="auto", base="mhda", alpha=5.0), walk())
    assert walk(kernel="hdt", n_steps=1).settings["alpha"] == 5.0


def test_an_alpha_that_is_given_twice_must_be_one() -> None:
    same(walk(BARBELL, W.HDT(3), alpha=3.0), walk(BARBELL, "hdt", alpha=3.0))
    for call in (
        lambda: walk(BARBELL, W.HDT(3), alpha=4.0),
        lambda: walk(BARBELL, W.SRRW(), "mhrw", 4.0),
        lambda: W.asymptotic_variance(BARBELL, BELOW, W.SRRW(2), alpha=3.0),
    ):
        with pytest.raises(ArgumentError, match=r"alpha: .* give it once"):
            call()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kernel": "srw"}, "kernel: 'srw' .* did you mean 'srrw'"),
        ({"base": "mhdr"}, "base: 'mhdr' .* did you mean"),
        ({"base": W.MHDA}, "base: the class MHDA was given; .* call the class"),
        ({"kernel": W.MHDA()}, r"kernel: MHDA\(\) was given"),
        ({"base": W.SRRW()}, r"base: SRRW\(alpha=5.0\) was given"),
    ],
)
def test_names_and_objects_that_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        walk(**how)


def test_a_lazy_chain_has_the_facts_of_the_chain_that_moves() -> None:
    facts = [fact for fact in BaseChain.__annotations__ if fact not in ("name", "always_moves")]
    for name in CHAINS.names:
        inner = CHAINS.resolve(name)
        if isinstance(inner, Lazy) or not inner.has_closed_law:
            continue
        lazy = Lazy(inner)
        assert [getattr(lazy, fact) for fact in facts] == [getattr(inner, fact) for fact in facts]
        assert not lazy.always_moves
        assert lazy == Lazy(name)
    assert repr(Lazy(W.MHRW(), 0.25)) == "Lazy(base='mhrw', eps=0.25)"


def test_schedules() -> None:
    for alpha in (5.0, ("linear", 0.0, 5.0, 400), ("log", 1.0, 20.0)):
        schedule = Schedule.of(alpha)
        assert schedule.given == alpha
        assert schedule.end == (alpha if isinstance(alpha, float) else alpha[2])
    assert Schedule.of(("linear", 0, 5, 400)).arrival == 400
    assert Schedule.of(("log", 1, 2)).arrival == pytest.approx(np.exp(2))
    assert isinstance(W.SRRW(("linear", 0, 5, 10)), HistoryKernel)
