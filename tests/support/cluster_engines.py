"""Engines on this machine, with two workers, for the tests marked `cluster` and for fuzz."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import worker_targets
from executor_help import spawned

import fermiac as fm

SUPPORT = str(Path(worker_targets.__file__).parent)
PATHS = os.pathsep.join([SUPPORT, str(Path(fm.__file__).parents[1])])


@contextmanager
def dask_client(**cluster: Any) -> Iterator[Any]:
    import dask as library
    import distributed

    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", **cluster}
    with (
        library.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(**settings) as made,
        distributed.Client(made) as client,
    ):
        yield client


@contextmanager
def ray_module(tmp_path: Path) -> Iterator[Any]:
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": PATHS}},
        object_store_memory=200 << 20,
        _node_ip_address="127.0.0.1",
    )
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def loky_executor(tmp_path: Path) -> Iterator[Any]:
    import loky

    yield loky.get_reusable_executor(max_workers=2, timeout=60)
    loky.get_reusable_executor().shutdown(kill_workers=True)


@contextmanager
def plain_loky(tmp_path: Path) -> Iterator[Any]:
    import loky

    executor = loky.ProcessPoolExecutor(max_workers=2)
    yield executor
    executor.shutdown(kill_workers=True)


@contextmanager
def parsl_executor(tmp_path: Path) -> Iterator[Any]:
    from parsl import Config, HighThroughputExecutor
    from parsl.concurrent import ParslPoolExecutor
    from parsl.providers import LocalProvider

    # Two nodes: if a worker dies while it holds the lock of the queue of its node, this node
    # computes nothing more.
    config = Config(
        [
            HighThroughputExecutor(
                max_workers_per_node=1,
                address="127.0.0.1",
                heartbeat_period=5,  # after which a lost worker is found; 30 by default
                provider=LocalProvider(init_blocks=2, max_blocks=2),
            )
        ],
        run_dir=str(tmp_path),
        initialize_logging=False,  # to a file that is left open
    )
    executor = ParslPoolExecutor(config)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)  # tasks of such a node never end


@contextmanager
def joblib_generator(tmp_path: Path) -> Iterator[Any]:
    import joblib

    yield joblib.Parallel(n_jobs=2, return_as="generator_unordered")


@contextmanager
def joblib_list(tmp_path: Path) -> Iterator[Any]:
    import joblib

    yield joblib.Parallel(n_jobs=2)


@contextmanager
def process_pool(tmp_path: Path) -> Iterator[Any]:
    with spawned(2) as executor:
        yield executor


@contextmanager
def dask(tmp_path: Path) -> Iterator[Any]:
    with dask_client() as client:
        # A cluster of a fixed size may end with no worker at all, without fermiac as well.
        client.cluster.adapt(minimum=2, maximum=2)
        yield client


@contextmanager
def schwimmbad_pool(tmp_path: Path) -> Iterator[Any]:
    import schwimmbad

    with schwimmbad.MultiPool(2) as pool:
        yield pool


Engine = Callable[[Path], AbstractContextManager[Any]]

ENGINES: list[Engine] = [
    process_pool, dask, ray_module, loky_executor, plain_loky, parsl_executor, joblib_generator,
    joblib_list, schwimmbad_pool,
]  # fmt: skip
#: Those that go on after a worker was killed.
RECOVER: list[Engine] = [process_pool, dask, ray_module, loky_executor, plain_loky, parsl_executor]
#: Those whose two processes last as long as the engine.
ONCE: list[Engine] = [
    process_pool, dask, ray_module, loky_executor, plain_loky, parsl_executor, schwimmbad_pool,
]  # fmt: skip
#: The packages of engines beyond the standard library.
PACKAGES = {
    dask: "distributed", ray_module: "ray", loky_executor: "loky", plain_loky: "loky",
    parsl_executor: "parsl", joblib_generator: "joblib", joblib_list: "joblib",
    schwimmbad_pool: "schwimmbad",
}  # fmt: skip
