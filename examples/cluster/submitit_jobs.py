"""submitit: job arrays of Slurm from Python. On Slurm, leave out cluster="local"."""

import submitit
from problem import report, solve

import fermiac as fm

if __name__ == "__main__":
    executor = submitit.AutoExecutor(folder="submitit", cluster="local")
    executor.update_parameters(timeout_min=60)
    # Four jobs, of two runs each.
    report(solve(fm.executor.Sharded(executor, n_workers=4)))
