"""loky, whose pool is renewed after a loss, and joblib, which takes rounds of shards."""

import joblib
import loky
from problem import report, solve

if __name__ == "__main__":
    report(solve(loky.get_reusable_executor(max_workers=2)))
    report(solve(joblib.Parallel(n_jobs=2, return_as="generator_unordered")))
