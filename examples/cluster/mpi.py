"""MPI: mpirun -n 3 python -m mpi4py.futures mpi.py, for one coordinator and two workers.

A rank that is lost ends the job, by the rules of MPI. With a store the next job makes only the runs
that are missing.
"""

import sys

from mpi4py.futures import MPIPoolExecutor
from problem import report, solve

import fermiac as fm

if __name__ == "__main__":
    store = sys.argv[1] if len(sys.argv) > 1 else None
    with MPIPoolExecutor() as executor:
        report(solve(fm.Plan(executor=executor, store=store)))
