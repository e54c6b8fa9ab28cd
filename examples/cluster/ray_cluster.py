"""Ray. On a cluster that runs, connect by ray.init(address="auto")."""

import ray
from problem import report, solve

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    report(solve(ray))
    ray.shutdown()
