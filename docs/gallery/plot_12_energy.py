"""
Energies of Hamiltonian chains
==============================

The spread of the energy must be reached by its changes from draw to draw.
"""

import fermiac as fm

s = fm.mcmc.sample(fm.targets.eight_schools(), rng=0)
s.plot_energy()
