"""A job array and no engine: sbatch --array=0-3 --wrap "python job_array.py store".

Each job makes its part of the runs and keeps them in the folder. Jobs that were killed are sent
again, and make only what is missing. In the end: python job_array.py store merge.
"""

import os
import sys

from problem import report, solve

import fermiac as fm

if __name__ == "__main__":
    store = sys.argv[1]
    if sys.argv[2:] == ["merge"]:
        report(fm.merge(store))
    else:
        number = int(os.environ["SLURM_ARRAY_TASK_ID"])
        count = int(os.environ["SLURM_ARRAY_TASK_COUNT"])
        solve(fm.Plan(part=(number, count), store=store))
