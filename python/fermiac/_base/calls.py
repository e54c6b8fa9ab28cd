"""Public functions and classes: helpful errors for wrong calls, and stack levels of warnings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fermiac._base.validate import suggestion
from fermiac.errors import CallError

__all__ = ["FOREIGN", "part_of", "public", "public_class", "users_level"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: The fields of a plan, with the arguments of earlier versions and of other libraries for them.
_PLAN = {
    "n_threads": "n_threads cores n_cores num_cores ncores n_jobs njobs threads num_threads "
    "nthreads nproc workers n_workers processes parallel_chains",
    "executor": "executor pool client map_fn",
    "progress": "progress progressbar progress_bar show_progress print_progress verbose quiet",
    "store": "store checkpoint path resume backend filename filepath checkpoint_file "
    "checkpoint_path log_dir",
    "part": "part first_chain first_run first_walker first_row",
    "max_time": "max_time timeout time_limit max_seconds max_runtime",
}
_OF_PLAN = {word: field for field, words in _PLAN.items() for word in words.split()}
#: Arguments of earlier versions that went to other places.
_MOVED = {
    "shards": "it is now plan=fermiac.executor.Sharded(executor, unit=...)",
    "target_factory": "give fermiac.targets.factory('module:function') as the target",
    "keep_state": "leave it out, the state is always kept now",
}
#: Names of arguments in other libraries. Of several keys the first that the function has is meant.
_WORDS = {
    "rng": "seed random_state random_seed rng_key prng_key key generator rstate",
    "n_chains n_walkers": "nwalkers n_walkers num_walkers walkers chains nchains num_chains",
    "n_draws n_steps n": "draws ndraws num_draws num_samples n_samples nsamples samples size "
    "n_iter niter iter_sampling iterations n_iterations nsteps num_steps n_steps n_draws neval "
    "n_eval num_points n_points num_inference_steps sampling_steps",
    "n_warmup": "tune n_tune ntune num_warmup iter_warmup warmup burn burnin burn_in nburn n_burn "
    "num_burnin_steps discard num_adaptation_steps",
    "thin": "thinning thin_by num_thin n_thin",
    "n_live": "nlive nlive_init n_live_points num_live_points min_num_live_points npoints",
    "dim": "ndim ndims n_dim n_dims num_dims dims d x_dim n_params",
    "log_density log_likelihood f loss model": "logp log_prob log_prob_fn log_prob_function logpdf "
    "lnprob lnpost logpost log_posterior logdensity logdensity_fn target_log_prob_fn target "
    "loglikelihood loglike log_like logl lnlike likelihood func fun function f fn integrand model",
    "prior": "prior_transform ptform transform priors",
    "law prior": "law dist distribution prior density",
    "gradient": "grad jac dlogp gradient_fn grad_fn dfun",
    "init": "initvals inits init_params init_params_fn start p0 pos0 x0 initial initial_state "
    "initial_position initial_values current_state",
    "names params": "var_names labels parameters param_names parameter_names paramnames coords",
    "kernel": "step step_method moves algorithm algo proposal",
    "kernel integrator": "sampler method scheduler solver",
    "sampler": "sample step_sampler stepsampler",
    "max_evals": "maxcall maxcalls max_calls max_ncalls max_num_calls",
    "max_iter n_steps": "maxiter max_iters max_iterations",
    "dlogz": "tol evidence_tolerance frac_remain",
    "periodic": "wrapped wrapped_params circular",
    "sigma_range": "sigma_min sigma_max",
    "target_accept": "target_accept_prob target_accept_rate adapt_delta delta",
    "max_depth": "max_treedepth max_tree_depth treedepth max_num_doublings",
    "step_size": "stepsize epsilon eps",
    "metric": "mass_matrix inverse_mass_matrix scaling dense_mass cov",
    "n_slices n_steps": "slices nslices walks nwalks n_leapfrog num_integration_steps",
    "mean": "mu loc location average",
    "sd": "sigma std stddev stdev scale",
    "mu": "mean loc",
    "sigma": "sd std s scale",
    "loc": "mean mu location",
    "scale": "sd sigma std stddev",
    "df": "nu dof degrees_of_freedom",
    "shape": "alpha a k concentration",
    "a": "alpha concentration1",
    "b": "beta concentration0",
    "low": "lower minimum",
    "high": "upper maximum",
    "args": "fargs logl_args model_args",
    "kwargs": "fun_kwargs kwds logl_kwargs model_kwargs",
}
#: For each name in other libraries, the arguments with the same meaning here.
FOREIGN: dict[str, tuple[str, ...]] = {}
for _ours, _theirs in _WORDS.items():
    for _word in _theirs.split():
        FOREIGN[_word] = (*FOREIGN.get(_word, ()), *_ours.split())
_OF_KERNEL = "{0}= is a setting of the kernel: kernel=fermiac.mcmc.NUTS"
#: Settings that belong to the object given as an argument.
_SETTINGS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("target_accept", "target_accept_prob", "adapt_delta", "delta"),
        ("kernel", f"{_OF_KERNEL}(target_accept=...)"),
    ),
    **dict.fromkeys(
        ("max_treedepth", "max_tree_depth", "max_depth"),
        ("kernel", f"{_OF_KERNEL}(max_depth=...)"),
    ),
    **dict.fromkeys(
        ("step_size", "stepsize", "epsilon", "metric"),
        ("kernel", f"{_OF_KERNEL}({{0}}=...)"),
    ),
    "rate": ("scale", "there is no argument {0!r}; scale= is 1 / rate here"),
    "lam": ("scale", "there is no argument {0!r}; scale= is 1 / {0} here"),
}
#: Arguments of earlier versions, by function, and what there is instead.
_REMOVED: dict[str, dict[str, str]] = {
    "audit_scores": {"rng": "removed; the bound is deterministic now, leave it out"},
    "Surrogate": {
        "mode": "removed; the run on a surrogate always starts from the prior, leave it out",
        "init_use": "removed; the points of init='genetic' always train the surrogate",
    },
    "observed": {"rule": "removed; the rule is that of PiGDM"},
    "wild_bootstrap": {"restricted": "removed; it is always True now, leave it out"},
    "WalkResult.estimate_size": {
        "gap": "removed; pairs of steps of one walker never count now",
    },
}


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Return a public function whose errors about wrong calls name the argument that was meant.

    A call that does not fit the signature raises a `CallError`, which is a TypeError as that of
    Python; its message names the argument here that a word of another library stands for.
    Signature, name and docstring stay those of the function.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            # The traceback ends here if the call itself failed, before the function began.
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                raise _explained(function, args, kwargs, error) from None
            raise

    return call


def public_class(kind: type[Any]) -> None:
    """Give a class the same errors about wrong arguments as a public function."""
    kind.__init__ = public(kind.__init__)


def part_of(owner: str, module: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of a base class with a part of the methods of a public class.

    Errors about wrong calls of its methods name the public class, which users know.
    """

    def renamed(kind: type[T]) -> type[T]:
        for name, method in vars(kind).items():
            if inspect.isfunction(method):
                method.__qualname__, method.__module__ = f"{owner}.{name}", module
        return kind

    return renamed


def users_level() -> int:
    """Return the ``stacklevel`` that makes a warning of the caller point to the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_own(frame.f_globals):
        level, frame = level + 1, frame.f_back
    return level


def _is_own(names: Mapping[str, Any]) -> bool:
    return str(names.get("__name__", "")).partition(".")[0] == "fermiac"


def _explained(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: TypeError,
) -> TypeError:
    """Return the error of a call that does not fit the signature."""
    signature = inspect.signature(function)
    parameters = [name for name in signature.parameters if name != "self"]
    called = function.__qualname__.removesuffix(".__init__")
    name = f"{'.'.join(function.__module__.split('.')[:2])}.{called}"
    if unknown := [word for word in kwargs if word not in parameters]:
        gone = _REMOVED.get(called, {})
        told = "; ".join(
            f"{word}: {gone[word]}" if word in gone else _told(word, parameters)
            for word in unknown[:4]
        )
        return CallError(f"{name}: {told}")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as problem:
        kinds = [signature.parameters[parameter].kind for parameter in parameters]
        by_position = [
            n for n, k in zip(parameters, kinds, strict=True) if k.name != "KEYWORD_ONLY"
        ]
        known = ", ".join(by_position) or "none"
        return CallError(
            f"{name}: {problem}; {known} may be given by position, all other arguments by name"
        )
    return error


def _told(word: str, parameters: list[str]) -> str:
    """Return the message about a keyword that a function does not have."""
    lower = word.lower()
    if lower in _SETTINGS and _SETTINGS[lower][0] in parameters:
        return _SETTINGS[lower][1].format(word)
    if lower in _OF_PLAN:
        field = _OF_PLAN[lower]
        if "plan" in parameters:
            return f"there is no argument {word!r}; it is plan=fermiac.Plan({field}=...) here"
        if field == "n_threads":
            return (
                f"there is no argument {word!r}; put the call into "
                "`with fermiac.Plan(n_threads=...):`"
            )
    if word in _MOVED and "plan" in parameters:
        return f"there is no argument {word!r}; {_MOVED[word]}"
    for name in FOREIGN.get(lower, ()):
        if name in parameters:
            return f"there is no argument {word!r}; it is {name}= here"
    known = suggestion(word, parameters) or f"there are {', '.join(parameters)}"
    return f"there is no argument {word!r}; {known}".rstrip()
