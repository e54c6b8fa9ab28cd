"""
Energies of Hamiltonian chains
==============================

Changes of the energy between draws, compared with the spread of the energy that they
must explore.
"""

import fermiac as fm

s = fm.mcmc.sample(fm.targets.eight_schools(), rng=0)
s.plot_energy()
