"""Underdamped Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass

from fermiac._base.validate import positive, shown, yes
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import GradientKernel, Oracles, Spec

__all__ = ["UnderdampedLangevin"]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnderdampedLangevin(GradientKernel):
    r"""Underdamped (kinetic) Langevin dynamics: friction partly refreshes a momentum.

    Let :math:`x = L z`, with momenta p of unit mass in z. A step of size h is a palindrome of exact
    parts. The time t of a part is h divided by the number of times that its letter occurs:

    - A, drift: :math:`z \leftarrow z + t p`;
    - B, kick: :math:`p \leftarrow p + t L^\top \nabla \log \pi(x)`;
    - O, friction: :math:`p \leftarrow c p + \sqrt{1 - c^2}\, \xi` with
      :math:`c = e^{-\gamma t}`.

    The momentum is kept from step to step.

    Parameters
    ----------
    step_size : float, optional
        h, in the units of the metric; by default it is adapted to `target_accept`.
    friction : float, default 1.0
        γ, in the units of the metric. For a standard normal law 2 is critical damping; with less
        friction a chain oscillates, with more it diffuses.
    splitting : str, optional
        The parts of a step: a palindrome of A, B and O with each at least once. The default is
        ``"BAOAB"``, which is exact for the positions of a normal law, and ``"OBABO"`` with
        ``metropolis=True`` (generalised Hamiltonian Monte Carlo). A step evaluates a gradient for
        every B after a drift, and at its end: one in these two splittings, two in ``"ABOBA"``.
    metropolis : bool, default False
        Accept or reject steps by their work, the change of energy minus the part due to friction.
        After a rejection the chain stays and its momentum is reversed. Friction at the ends of the
        splitting is exact and needs no correction. Without the correction the draws have a bias of
        order h². Steps are then corrected only while the warm-up adapts the step size. Later only
        divergent steps, whose work is above 1000, are rejected, so that no chain escapes.
    target_accept : float, default 0.9
        The acceptance rate to which the warm-up adapts the step size. Without the correction it is
        the rate with the correction.
    metric : {"auto", "unit", "diag", "dense", "low_rank"} or array_like, default "auto"
        As in `MALA`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] B. Leimkuhler, C. Matthews, "Rational construction of stochastic numerical methods for
       molecular sampling", Applied Mathematics Research eXpress, 2013, doi:10.1093/amrx/abs010.
    .. [2] A. M. Horowitz, "A generalized guided Monte Carlo algorithm", Physics Letters B, 1991,
       doi:10.1016/0370-2693(91)90812-5.
    .. [3] D. A. Sivak, J. D. Chodera, G. E. Crooks, "Using nonequilibrium fluctuation theorems to
       understand and correct errors in equilibrium and nonequilibrium simulations of discrete
       Langevin dynamics", Physical Review X, 2013, doi:10.1103/PhysRevX.3.011007.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.UnderdampedLangevin(metropolis=True)
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=kernel, n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 2)
    """

    friction: float = 1.0
    splitting: str | None = None
    metropolis: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("friction", self.friction)
        yes("metropolis", self.metropolis)
        letters = self._letters()
        if set(letters) != set("ABO") or letters != letters[::-1]:
            raise ArgumentError(
                f"splitting: {shown(letters)} given; a palindrome of the letters A, B and O with "
                "each at least once is needed, such as 'BAOAB' or 'OBABO'"
            )

    def _letters(self) -> str:
        if self.splitting is not None:
            return str(self.splitting)
        return "OBABO" if self.metropolis else "BAOAB"

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "underdamped", {
            "splitting": self._letters(),
            "friction": float(self.friction),
            "tuning": self._tuning(dim),
            "corrected": self.metropolis,
        }
