"""Joint laws of named parameters: densities, maps and draws against closed forms; refusals."""

import pickle

import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac.distributions import Gamma, Joint, MultivariateNormal, Normal, Product, Uniform
from fermiac.errors import ArgumentError


def theta_law(mu, tau):
    return Normal.rows(mu[:, None], tau[:, None])


def hierarchy(**more):
    laws = {"mu": Normal(1.0, 2.0), "tau": Gamma(2.0), "theta": theta_law}
    return Joint(laws, shapes={"theta": 3, **more})


def test_independent_laws_are_their_product():
    laws = [Normal(0, 2), Uniform([0, 0], [1, 2]), MultivariateNormal([0, 1], np.eye(2))]
    joint, product = Joint(dict(zip("abc", laws, strict=True))), Product(laws)
    assert joint.names == ("a", "b[0]", "b[1]", "c[0]", "c[1]")
    x = product.sample(50, rng=1)
    np.testing.assert_array_equal(joint.sample(50, rng=1), x)
    np.testing.assert_array_equal(joint.log_density(x), product.log_density(x))
    u = np.random.default_rng(0).uniform(size=(7, 5))
    np.testing.assert_array_equal(joint.from_unit(u), product.from_unit(u))
    assert joint._support() == product._support()
    target = fm.targets.as_target(joint)
    assert target.has_gradient
    assert target.names == joint.names
    assert target.form == "builtin"


def test_the_density_is_that_of_the_factors():
    law = hierarchy()
    x = law.sample(200, rng=0)
    wanted = (
        st.norm(1, 2).logpdf(x[:, 0])
        + st.gamma(2).logpdf(x[:, 1])
        + st.norm(x[:, :1], x[:, 1:2]).logpdf(x[:, 2:]).sum(axis=1)
    )
    np.testing.assert_allclose(law.log_density(x), wanted, rtol=1e-11)
    assert law.log_density([[0.0, -1.0, 0.0, 0.0, 0.0]]) == -np.inf
    assert law.log_density(x[0]).shape == ()
    assert np.isnan(law.log_density([[np.nan, 1.0, 0.0, 0.0, 0.0]])).all()


def test_draws_and_the_map_have_the_law():
    law = hierarchy()
    u = np.random.default_rng(5).uniform(size=(20_000, 5))
    for x in (law.sample(20_000, rng=2), law.from_unit(u)):
        assert st.kstest(x[:, 0], st.norm(1, 2).cdf).pvalue > 1e-4
        assert st.kstest(x[:, 1], st.gamma(2).cdf).pvalue > 1e-4
        z = (x[:, 2:] - x[:, :1]) / x[:, 1:2]
        assert st.kstest(z.ravel(), st.norm.cdf).pvalue > 1e-4
    np.testing.assert_array_equal(law.sample(10, rng=2), law.sample(10, rng=2))
    assert law.sample(0, rng=1).shape == (0, 5)


def test_a_row_does_not_depend_on_its_batch():
    law = hierarchy()
    x = law.sample(64, rng=4)
    one_by_one = np.array([law.log_density(row) for row in x])
    np.testing.assert_array_equal(law.log_density(x), one_by_one)
    u = np.random.default_rng(0).uniform(size=(64, 5))
    each = np.concatenate([law.from_unit(row[None]) for row in u])
    np.testing.assert_array_equal(law.from_unit(u), each)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda mu: Normal(mu, 1.0), ()),
        (lambda mu: Normal.rows(mu, 1.0), ()),
        (lambda mu: Normal(0.0, 1.0), ()),
        (lambda mu: Normal.rows(mu[:, None] + [0.0, 1.0], 1.0), (2,)),
        (lambda mu: Normal.rows(mu[:, None, None] + np.zeros((3, 2)), 1.0), (3, 2)),
        (lambda **before: Normal.rows(before["mu"][:, None], 1.0), (1,)),
        (lambda mu, tau=1.0: Normal.rows(mu, tau), ()),
        (lambda mu: st.norm(mu, 1.0), ()),
    ],
)
def test_shapes_are_learned(function, shape):
    law = Joint({"mu": Normal(), "x": function})
    assert law.variables.shapes == {"mu": (), "x": shape}
    x = law.sample(5, rng=0)
    assert x.shape == (5, law.dim)
    assert np.isfinite(law.log_density(x)).all()


def test_shapes_may_be_given():
    law = Joint(
        {"a": Normal(), "b": Normal(np.zeros(4)), "c": lambda a: Normal(a, 1.0)},
        shapes={"a": 2, "b": (2, 2), "c": ()} | {"a": ()},
    )
    assert law.variables.shapes == {"a": (), "b": (2, 2), "c": ()}
    assert Joint({"a": Normal()}, shapes={"a": 3}).dim == 3
    assert Joint({"a": Normal([0.0])}).names == ("a[0]",)
    both = Joint({"a": Normal(), "c": lambda a: Normal(a, 1.0)}, shapes={"c": 3})
    x = both.sample(6, rng=0)
    wanted = st.norm().logpdf(x[:, 0]) + st.norm(x[:, :1]).logpdf(x[:, 1:]).sum(axis=1)
    np.testing.assert_allclose(both.log_density(x), wanted)


def test_laws_without_a_map_can_be_drawn():
    mixture = fm.distributions.Mixture([1, 1], [Normal(-3.0), Normal(3.0)])
    law = Joint({"a": mixture, "b": lambda a: Normal(a, 0.1)})
    x = law.sample(1000, rng=0)
    assert abs(np.corrcoef(x.T)[0, 1]) > 0.99
    with pytest.raises(ArgumentError, match="no map from the unit cube"):
        law.from_unit([[0.5, 0.5]])


def test_supports_hold_whatever_the_parameters():
    law = Joint(
        {
            "a": Gamma(1.0),
            "b": lambda a: Gamma.rows(a),
            "c": lambda a: Uniform.rows(0.0, a),
            "d": lambda a: Normal.rows(0.0, a),
        }
    )
    assert law._support() == [(0.0, np.inf)] * 2 + [(-np.inf, np.inf)] * 2


def test_pickles_and_reprs():
    law = hierarchy()
    again = pickle.loads(pickle.dumps(law))
    x = law.sample(5, rng=0)
    np.testing.assert_array_equal(again.log_density(x), law.log_density(x))
    assert again.names == law.names
    wanted = (
        "Joint({'mu': Normal(mean=1.0, sd=2.0), 'tau': Gamma(shape=2.0, scale=1.0), "
        "'theta': theta_law})"
    )
    assert repr(law) == wanted


@pytest.mark.parametrize(
    ("laws", "shapes", "message"),
    [
        ({}, None, "laws: {}"),
        ([Normal()], None, "dictionary"),
        ({"a": 3}, None, r"laws\['a'\]: int"),
        ({"a": Normal}, None, r"laws\['a'\]"),
        ({"a[0]": Normal()}, None, "without brackets"),
        ({3: Normal()}, None, "as a name"),
        ({"a": lambda b: Normal(), "b": Normal()}, None, "'b', which is no parameter before"),
        ({"tau": Normal(), "a": lambda tou: Normal()}, None, "did you mean 'tau'"),
        ({"a": lambda: 3}, None, "int"),
        ({"mu": Normal(), "a": lambda mu: Normal([0, 0, 0])}, None, "for 2 rows"),
        ({"mu": Normal(), "a": lambda mu: Product([Normal(), Normal()])}, None, "for 2 rows"),
        ({"mu": Normal(), "a": lambda mu: Normal.rows(np.zeros(5))}, None, "5 rows"),
        ({"mu": Normal(), "a": lambda mu: Normal.rows(mu, -1.0)}, None, "sd"),
        ({"mu": Normal(), "a": lambda mu: Normal.rows(np.zeros((1, 2)))}, {"a": 3}, "broadcast"),
        ({"a": Normal()}, {"b": 3}, "'b' has no law; "),
        ({"a": Normal([0, 0])}, {"a": 3}, "3 coordinates, and a law of 2"),
        ({"a": Normal()}, {"a": 2**30}, "a whole number"),
        ({"a": max}, None, "no signature"),
    ],
)
def test_what_is_no_joint_law(laws, shapes, message):
    with pytest.raises(ArgumentError, match=message):
        Joint(laws, shapes)


def test_errors_of_functions_pass_through():
    def broken(mu):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Joint({"mu": Normal(), "a": broken})


def test_errors_of_parameters_name_the_law():
    law = Joint({"a": Normal(2.0, 0.1), "b": lambda a: Normal.rows(0.0, a)})
    with pytest.raises(ArgumentError, match="sd") as caught:
        law.log_density([[-1.0, 0.0]])
    assert "raised by the law of 'b'" in caught.value.__notes__


def test_functions_may_write_to_their_arrays():
    def writing(a):
        a += 1.0
        return Normal.rows(a, 1.0)

    law = Joint({"a": Normal(), "b": writing})
    plain = Joint({"a": Normal(), "b": lambda a: Normal.rows(a + 1.0, 1.0)})
    x = law.sample(20, rng=0)
    np.testing.assert_array_equal(plain.sample(20, rng=0), x)
    np.testing.assert_array_equal(law.log_density(x), plain.log_density(x))
