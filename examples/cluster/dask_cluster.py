"""dask.distributed. On Slurm, make the cluster by dask-jobqueue, and leave the rest as it is.

from dask_jobqueue import SLURMCluster
cluster = SLURMCluster(
    cores=1, memory="4GB", walltime="01:00:00",
    worker_extra_args=["--lifetime", "55m", "--lifetime-stagger", "4m"],
)
cluster.adapt(minimum=0, maximum=200)
"""

from distributed import Client, LocalCluster
from problem import report, solve

if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        report(solve(client))
