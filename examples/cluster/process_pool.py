"""Processes of this machine, by the standard library."""

from concurrent.futures import ProcessPoolExecutor

from problem import report, solve

if __name__ == "__main__":  # the processes import this file
    with ProcessPoolExecutor(2) as pool:
        report(solve(pool))
