"""Microcanonical Langevin Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass

from fermiac._base.validate import positive, yes
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import GradientKernel, Oracles, Spec, metric_spec

__all__ = ["MCLMC"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MCLMC(GradientKernel):
    r"""Microcanonical Langevin Monte Carlo: constant speed, in a direction that gradients turn.

    With :math:`x = L z`, a point moves at speed 1 in z along a direction u that follows
    :math:`\dot u = (I - u u^\top) L^\top \nabla \log p(x) / (d - 1)`, in steps of the minimal-norm
    integrator with two gradients each. The speed does not depend on the slope of the density.

    Parameters
    ----------
    step_size : float, optional
        The step in z. By default the warm-up adapts it so that the mean squared energy error of a
        step is 0.0005 per coordinate, or, with ``adjusted=True``, to `target_accept`.
    length : float, optional
        The distance in z over which the direction is forgotten; with ``adjusted=True`` the mean
        length of a trajectory. By default it starts at √d, and the warm-up adapts it to the
        correlation times of the last 512 draws of each window (to 0.4 of them without the
        adjustment).
    adjusted : bool, default False
        Accept or reject whole trajectories by their energy errors; each has a new direction and a
        uniformly drawn length. The draws then follow the target exactly. Without the adjustment a
        transition is one step, which is rejected only if its energy error is above 1000, and the
        draws have a bias: with the default step size, variances of a normal law are 2 % too small.
    target_accept : float, default 0.9
        The acceptance rate to which the step size of adjusted trajectories is adapted.
    metric : {"auto", "unit", "diag", "dense", "low_rank"} or array_like, default "auto"
        As in `MALA`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain. `sample` refuses a target of one coordinate, in which
        there is no direction to turn.

    References
    ----------
    .. [1] J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte
       Carlo", Journal of Machine Learning Research, 2023, arXiv:2212.08549.
    .. [2] J. Robnik, U. Seljak, "Fluctuation without dissipation: microcanonical Langevin Monte
       Carlo", 2023, arXiv:2303.18221.
    .. [3] J. Robnik, R. Cohn-Gordon, U. Seljak, "Metropolis adjusted microcanonical Hamiltonian
       Monte Carlo", 2025, arXiv:2503.01707.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.MCLMC(adjusted=True)
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=kernel, n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 2)
    """

    length: float | None = None
    adjusted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length is not None:
            positive("length", self.length)
        yes("adjusted", self.adjusted)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        if dim < 2:
            raise ArgumentError(
                "kernel: MCLMC needs two coordinates or more, and the target has one; use another "
                "kernel, such as MALA()"
            )
        return "mclmc", {
            "step": self.step_size,
            "length": self.length,
            "target_accept": self.target_accept if self.adjusted else None,
            "metric": metric_spec(self.metric, dim, gradients=True),
        }
