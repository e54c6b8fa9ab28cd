"""Special functions over arrays, right in both tails, with the same bits on every machine.

The names are SciPy's where SciPy has them; the ``log_`` forms of the incomplete functions are
ours. Arguments broadcast. Numbers give a number, arrays an array, always in double precision:
float32 is converted first. Masked values are refused. Outside its domain a function
gives NaN, as SciPy's do: probabilities outside [0, 1], arguments of incomplete functions below
their range, and their parameters unless they are positive and finite.

Relative errors: 1.5 units in the last place for `exp`, `log`, `erf`, `erfc`, `ndtr` and `ndtri`;
about 1e-15 for the logarithms of gamma and beta functions and `digamma` (near zeros of a logarithm
and below zero, absolutely); about 1e-14 for the smaller tail of the incomplete functions, plus a
few roundings times the condition number x f(x) / tail, f the density. Complements of the smaller
tail are right to the last place, so that their sum is 1.
"""

from __future__ import annotations

from fermiac._special_elementary import (
    betaln,
    digamma,
    erf,
    erfc,
    exp,
    gammaln,
    log,
    log_ndtr,
    ndtr,
    ndtri,
)
from fermiac._special_incomplete import (
    betainc,
    betaincc,
    betainccinv,
    betaincinv,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    log_betainc,
    log_betaincc,
    log_gammainc,
    log_gammaincc,
)

__all__ = [
    "betainc",
    "betaincc",
    "betainccinv",
    "betaincinv",
    "betaln",
    "digamma",
    "erf",
    "erfc",
    "exp",
    "gammainc",
    "gammaincc",
    "gammainccinv",
    "gammaincinv",
    "gammaln",
    "log",
    "log_betainc",
    "log_betaincc",
    "log_gammainc",
    "log_gammaincc",
    "log_ndtr",
    "ndtr",
    "ndtri",
]
