"""Extrapolate and simulate extraction at scale: print the tables of docs/scale.md.

    python -m benchmarks.scale

The cost of a shard was measured (`benchmarks.scale_measure`, `benchmarks.extract`). This program
multiplies it, and simulates, event by event, workers that pull shards, the flow that submits them
one after the other, and the Prefect server that receives their events one after the other.
"""

import heapq
import math
import random
from dataclasses import dataclass, replace

SHARD = 256
# Largest number of submitted shards that are not finished (flows/prepare.py).
SUBMITTED = 1000

# Measured (docs/performance.md): pictures a second and core, bytes of a source and of a pair.
RATES = {"OpenCV": 1.97 / 2, "OpenVINO, f32": 4.20 / 2, "OpenVINO, bf16": 7.96 / 2}
RAW_BYTES, PAIR_BYTES = 167e3, 156e3
ROW_BYTES = 70

# Objects a shard: raw tar and table; train and val tar, and table.
RAW_OBJECTS, PAIR_OBJECTS = 2, 3
VAL_SHARE = 0.05
# Measured by benchmarks.scale_measure, per shard: GET and HEAD requests, calls of Prefect's API,
# and events sent over a websocket.
GETS = 10
CALLS, EVENTS = 1.25, 3
# From 16 MiB on an object is uploaded in parts (storage/s3_multipart.py).
WHOLE, PART = 16 << 20, 8 << 20

# List prices of a large provider in dollars; replace them with yours.
PUT_PRICE, GET_PRICE = 5e-6, 4e-7
GB_MONTH, CORE_HOUR = 0.023, 0.04


@dataclass(frozen=True)
class Fleet:
    """Workers, flow and Prefect server.

    The defaults are CPU seconds measured with Dask on two busy cores, so they are upper bounds.

    Attributes
    ----------
    workers : int
        Processes that extract one shard at a time.
    cores : int
        Cores of each worker.
    rate : float
        Pictures a second and core.
    overhead : float
        Seconds of a task without progress: Prefect's share in the worker.
    submit : float
        Seconds that a task takes in the flow, which submits one after the other.
    server : float
        Seconds that a task takes in the Prefect server.
    """

    workers: int
    cores: int
    rate: float
    overhead: float = 0.325
    submit: float = 0.113
    server: float = 0.131


@dataclass(frozen=True)
class SimulationResult:
    """Result of a simulated run.

    Attributes
    ----------
    seconds : float
        Time until the last shard was done.
    utilization : float
        Share of the workers' time spent on pictures, 0 to 1.
    tasks_a_second : float
        Mean rate.
    server_load : float
        The Prefect server's work as a share of that time; above 1 it is overloaded.
    max_lag : float
        Largest delay of the Prefect server, seconds.
    """

    seconds: float
    utilization: float
    tasks_a_second: float
    server_load: float
    max_lag: float


def simulate(pictures: int, fleet: Fleet, shard: int = SHARD, seed: int = 0) -> SimulationResult:
    """Simulate a run event by event."""
    rng = random.Random(seed)
    shards = math.ceil(pictures / shard)
    mean = shard / (fleet.rate * fleet.cores)
    spread = 0.15
    finished = bytearray(shards)
    num_leading_done = next_shard = 0
    server_free_at = max_lag = server_seconds = useful_seconds = now = submitted_at = 0.0
    idle: list[int] = []
    # Time, order (breaks ties), worker, finished shard (-1 at the start).
    queue = [(0.0, number, number, -1) for number in range(min(fleet.workers, shards))]
    order = len(queue)

    def report(at: float) -> None:
        """Send half of a task's events and log lines; nothing waits for the server."""
        nonlocal server_free_at, max_lag, server_seconds
        server_free_at = max(server_free_at, at) + fleet.server / 2
        server_seconds += fleet.server / 2
        max_lag = max(max_lag, server_free_at - at)

    while queue:
        now, _, worker, ended = heapq.heappop(queue)
        ready = [worker]
        if ended >= 0:
            report(now)
            finished[ended] = 1
            while num_leading_done < shards and finished[num_leading_done]:
                num_leading_done += 1
            ready += idle
            idle = []
        for free in ready:
            if next_shard == shards:
                continue
            if next_shard >= num_leading_done + SUBMITTED:
                idle.append(free)
                continue
            # A shard that exceeded the limit of submitted shards is submitted now.
            submitted_at = max(submitted_at + fleet.submit, now if free != worker else 0)
            begin = max(now, submitted_at) + fleet.overhead
            report(begin)
            work = mean * rng.lognormvariate(-(spread**2) / 2, spread)
            useful_seconds += work
            order += 1
            heapq.heappush(queue, (begin + work, order, free, next_shard))
            next_shard += 1
    return SimulationResult(
        now,
        useful_seconds / (now * min(fleet.workers, shards)),
        shards / now,
        server_seconds / now,
        max_lag,
    )


def count_puts() -> int:
    """Return the write requests of a full shard, including those of multipart uploads."""
    pairs = SHARD * PAIR_BYTES
    tars = [SHARD * RAW_BYTES, pairs * (1 - VAL_SHARE), pairs * VAL_SHARE]
    # Creating and completing a multipart upload are requests, too. The two tables are small.
    return 2 + sum(1 if size < WHOLE else 2 + math.ceil(size / PART) for size in tars)


def main() -> None:
    for pictures in (1_450_000, 100_000_000):
        shards = math.ceil(pictures / SHARD)
        print(f"\n{pictures:,} pictures: {shards:,} shards and tasks")
        objects = (RAW_OBJECTS + PAIR_OBJECTS) * shards
        stored = pictures * (RAW_BYTES + PAIR_BYTES)
        puts, gets = count_puts() * shards, GETS * shards
        manifest = pictures * ROW_BYTES
        print(f"  {objects:,} objects, {stored / 1e12:.2f} TB, manifest {manifest / 1e9:.1f} GB")
        price = puts * PUT_PRICE + gets * GET_PRICE
        print(f"  {puts:,} write and {gets:,} read requests: ${price:,.2f}")
        print(f"  storage ${stored / 1e9 * GB_MONTH:,.0f} a month")
        print(f"  Prefect: {CALLS * shards:,.0f} calls, {EVENTS * shards:,} events")
        for name, rate in RATES.items():
            hours = pictures / rate / 3600
            print(f"  {name}: {hours:,.0f} core hours, ${hours * CORE_HOUR:,.0f}")
    print("\nworkers × cores, engine: hours, utilization, tasks/s, server load, lag")
    for pictures, workers, cores, engine in (
        (1_450_000, 1, 16, "OpenCV"),
        (1_450_000, 10, 16, "OpenVINO, bf16"),
        (1_450_000, 100, 16, "OpenVINO, bf16"),
        (100_000_000, 10, 16, "OpenVINO, bf16"),
        (100_000_000, 100, 16, "OpenVINO, bf16"),
        (100_000_000, 400, 16, "OpenVINO, bf16"),
    ):
        fleet = Fleet(workers, cores, RATES[engine])
        line = _format_result(simulate(pictures, fleet))
        print(f"  {pictures:>11,} {workers:>4} × {cores}, {engine}: {line}")
    print("\nTime of a task in flow and server, with 100 × 16 cores, OpenVINO, bf16, 100 million")
    fleet = Fleet(100, 16, RATES["OpenVINO, bf16"])
    for seconds in (0.01, 0.03, 0.1, 0.3):
        line = _format_result(simulate(100_000_000, replace(fleet, submit=seconds, server=seconds)))
        print(f"  {1000 * seconds:>4.0f} ms: {line}")


def _format_result(outcome: SimulationResult) -> str:
    return (
        f"{outcome.seconds / 3600:7.2f} h, {outcome.utilization:6.1%}, "
        f"{outcome.tasks_a_second:6.2f}/s, {outcome.server_load:6.1%}, {outcome.max_lag:8.1f} s"
    )


if __name__ == "__main__":
    main()
