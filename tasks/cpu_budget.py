"""The CPU budget: the number of cores that this process may use."""

import sys

from config.settings import count_cores, get_settings

_budget: int | None = None


def set_cpu_budget(count: int) -> None:
    """Set the number of cores that this process may use. It overrides all settings.

    Parameters
    ----------
    count : int
        Number of cores, at least 1.
    """
    global _budget
    _budget = count


def get_cpu_budget() -> int:
    """Return the number of cores that this process may use.

    Call this function in the thread of a task: Dask identifies its worker by the thread.

    Returns
    -------
    int
        Number of cores, at least 1. The first of these values that is set: the argument of
        `set_cpu_budget`, the setting ``ICANVAS_CORES``, the CPUs (Ray) or threads (Dask) that the
        cluster assigned to this worker, the number of cores that the operating system allows.
    """
    return _budget or get_settings().cores or _get_cluster_cpus() or count_cores()


def _get_cluster_cpus() -> int | None:
    # A worker process has already imported the library of its cluster.
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            # A task may be assigned a fraction of a CPU.
            return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
    if "distributed" in sys.modules:
        import distributed

        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:
            return None
    return None
