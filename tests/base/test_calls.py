"""Public calls: wrong arguments, signatures, cost, and the line of warnings."""

import inspect
import pickle
import sys
import warnings

import pytest

import fermiac as fm
from fermiac._base.calls import FOREIGN, public, users_level
from fermiac.errors import ArgumentError, CallError

DOMAINS = (fm.importance, fm.mcmc, fm.nested, fm.walks, fm.privacy, fm.score, fm.targets)


@public
def drawn(log_density, dim=None, *, kernel=None, n_draws=10, rng=None):
    """A function such as the public ones."""
    return log_density, dim, kernel, n_draws, rng


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1}, "no argument 'seed'; it is rng= here"),
        (
            {"random_state": 1, "draws": 2},
            "rng= here; there is no argument 'draws'; it is n_draws=",
        ),
        ({"Seed": 1}, "it is rng= here"),
        ({"n_drawz": 1}, "did you mean 'n_draws'"),
        ({"step_size": 0.1}, r"kernel=fermiac.mcmc.NUTS\(step_size=...\)"),
        ({"nlive": 1}, "there are log_density, dim, kernel"),
        ({"q": 1}, "there are log_density, dim"),
    ],
)
def test_words_that_are_not_known(given, message):
    for error in (CallError, ArgumentError, TypeError, ValueError):
        with pytest.raises(error, match=message):
            drawn(1, **given)


def test_too_few_and_too_many():
    with pytest.raises(CallError, match=r"missing a required argument: 'log_density'; log_density"):
        drawn()
    with pytest.raises(CallError, match="too many positional arguments; log_density, dim may be"):
        drawn(1, 2, 3)
    with pytest.raises(CallError, match="multiple values for argument 'dim'"):
        drawn(1, 2, dim=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fm.mcmc.NUTS(max_treedepth=12), "fermiac.mcmc.NUTS: .*it is max_depth= here"),
        (lambda: fm.mcmc.HMC(adapt_delta=0.9), "it is target_accept= here"),
        (lambda: fm.mcmc.RWM(scal=2.0), "did you mean 'scale'"),
        (lambda: fm.mcmc.NUTS(3), "too many positional arguments; none may be given by position"),
        (lambda: fm.mcmc.Gibbs(), "missing a required argument: 'kernels'"),
        (lambda: fm.distributions.Normal(mu=1.0, sigma=2.0), "it is mean= here; .*it is sd= here"),
        (lambda: fm.distributions.Gamma(2.0, rate=2.0), "scale= is 1 / rate here"),
        (lambda: fm.distributions.Beta(alpha=1, beta=2), "it is a= here; .*it is b= here"),
        (
            lambda: fm.distributions.Gamma(),
            "missing a required argument: 'shape'; shape, scale may",
        ),
        (lambda: fm.nested.Slice(slices=5), "fermiac.nested.Slice: .*it is n_slices= here"),
    ],
)
def test_kernels_and_samplers_explain_theirs(make, message):
    with pytest.raises(CallError, match=message):
        make()


def test_errors_of_the_function_itself_are_left_alone():
    @public
    def broken(x):
        return len(x)

    with pytest.raises(TypeError, match="object of type 'int' has no len") as caught:
        broken(3)
    assert not isinstance(caught.value, ArgumentError)
    with pytest.raises(TypeError) as caught:
        fm.importance.expect(lambda: 0, fm.distributions.Normal(), n=100, check=False)
    assert not isinstance(caught.value, ArgumentError)


def test_nothing_else_changes():
    assert list(inspect.signature(drawn).parameters)[:2] == ["log_density", "dim"]
    assert drawn.__doc__ == "A function such as the public ones."
    assert drawn(1, rng=2) == (1, None, None, 10, 2)
    assert pickle.loads(pickle.dumps(fm.mcmc.sample)) is fm.mcmc.sample


def test_the_cost_is_that_of_a_few_instructions():
    """Of Python, beyond the function: 10 when this was written; benches/base has the time."""

    def cost(f):
        count = 0

        def trace(frame, event, _):
            nonlocal count
            frame.f_trace_opcodes = True
            count += event in ("call", "opcode")
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            f(1, 2, n_draws=3, rng=4)
        finally:
            sys.settrace(before)
        return count

    assert cost(drawn) - cost(drawn.__wrapped__) < 30


def test_all_public_functions_of_the_domains_are_wrapped():
    missing = [
        f"{module.__name__}.{name}"
        for module in (*DOMAINS, fm.walks.graphs)
        for name in module.__all__
        if inspect.isfunction(f := getattr(module, name))
        and name != "start"
        and inspect.signature(f).parameters
        and not hasattr(f, "__wrapped__")
    ]
    assert not missing


@pytest.mark.parametrize(
    ("call", "given", "told"),
    [
        (fm.mcmc.sample, "nwalkers tune draws chains ndim logp cores num_warmup", None),
        (fm.mcmc.sample, "nwalkers", "n_chains="),
        (fm.nested.sample, "nlive", "n_live="),
        (fm.nested.sample, "loglikelihood", "log_likelihood="),
        (fm.nested.sample, "maxcall", "max_evals="),
        (fm.importance.expect, "n_samples", "n="),
        (fm.importance.evidence, "prior", "law="),
        (fm.walks.walk, "nwalkers", "n_walkers="),
        (fm.walks.walk, "nsteps", "n_steps="),
        (fm.score.sample, "num_inference_steps", "n_steps="),
        (fm.score.sample, "scheduler", "integrator="),
    ],
)
def test_words_of_other_libraries(call, given, told):
    for word in given.split():
        with pytest.raises(CallError, match=told or r"(=|\(n_threads=\.\.\.\)) here"):
            call(**{word: 1})


def test_every_word_leads_to_an_argument_somewhere():
    known = {
        name
        for module in DOMAINS
        for f in map(module.__dict__.get, module.__all__)
        if inspect.isfunction(f)
        for name in inspect.signature(f).parameters
    }
    laws = fm.distributions
    for kind in (fm.mcmc.NUTS, fm.nested.Slice, laws.Normal, laws.LogNormal, laws.StudentT):
        known |= set(inspect.signature(kind).parameters)
    for kind in (laws.Gamma, laws.Beta, laws.Uniform):
        known |= set(inspect.signature(kind).parameters)
    assert not [name for names in FOREIGN.values() for name in names if name not in known]


def test_warnings_are_at_the_line_of_the_user():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fm.importance.expect(lambda x: x[:, 0] > 40, fm.distributions.Normal(), n=1000, rng=0)
        fm.mcmc.sample(fm.distributions.Normal(), n_draws=5, n_warmup=5, rng=0)
    assert len(caught) >= 2
    assert {w.filename for w in caught} == {__file__}
    assert users_level() == 1
