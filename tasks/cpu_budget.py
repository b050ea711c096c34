"""How many cores a process may use, where it is not alone on its machine."""

import sys

from config.settings import count_cores, get_settings

_given: int | None = None


def give_cores(count: int) -> None:
    """Let this process use so many, whatever the settings say that it inherited."""
    global _given
    _given = count


def own_cores() -> int:
    """Return how many cores this process may use. Ask in the thread of a task.

    That is what ``give_cores`` said; else ICANVAS_CORES; else, of a worker of Ray or Dask, the CPUs
    or threads that its cluster counts it with; else all that the system lets it use.
    """
    return _given or get_settings().cores or _assigned() or count_cores()


def _assigned() -> int | None:
    # Whoever is a worker has imported it.
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            # A share of a CPU is a thread, too.
            return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
    if "distributed" in sys.modules:
        import distributed

        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:
            return None
    return None
