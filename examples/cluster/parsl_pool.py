"""Parsl. On Slurm, give SlurmProvider in place of LocalProvider."""

from parsl import Config, HighThroughputExecutor
from parsl.concurrent import ParslPoolExecutor
from parsl.providers import LocalProvider
from problem import report, solve

if __name__ == "__main__":
    workers = HighThroughputExecutor(
        max_workers_per_node=2,
        address="127.0.0.1",
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    with ParslPoolExecutor(Config([workers], run_dir="parsl")) as executor:
        report(solve(executor))
