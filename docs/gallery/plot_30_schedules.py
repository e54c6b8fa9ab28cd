"""
Noise schedules
===============

Levels of four schedules with twenty steps.
"""

import fermiac as fm

fm.plotting.plot_schedules(
    {
        "karras": fm.score.karras(20, 0.02, 20.0),
        "exponential": fm.score.exponential(20, 0.02, 20.0),
        "polyexponential, rho 2": fm.score.polyexponential(20, 0.02, 20.0, rho=2.0),
        "poly_t": fm.score.poly_t(20, 0.02, 20.0),
    }
)
