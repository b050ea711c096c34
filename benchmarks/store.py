"""Measure the S3 store's rates, compared with boto3's transfer manager on the same server.

    .venv/bin/python -m benchmarks.store                          # starts a SeaweedFS
    .venv/bin/python -m benchmarks.store --url s3://bucket/bench  # a service of yours

Shards of random bytes are uploaded and downloaded one after another, alternately through the store
and through ``upload_fileobj`` and ``download_fileobj`` with their defaults. The store hashes each
whole shard in both directions; the transfer manager does not.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import boto3

from storage.s3 import S3Store
from tests.s3 import BUCKET, running_s3

MB = 10**6
GOAL = 0.8


def measure(work: Callable[[int], None], numbers: range) -> float:
    """Return the seconds that the work takes for these shards."""
    start = time.perf_counter()
    for number in numbers:
        work(number)
    return time.perf_counter() - start


def split_into_turns(count: int, turn: int) -> Iterator[range]:
    for start in range(0, count, turn):
        yield range(start, min(start + turn, count))


def compare(store: S3Store, shards: int, size: int, scratch: Path) -> float:
    """Print both rates, and return the lower ratio of the store's to boto3's."""
    bucket, prefix = store.url.removeprefix("s3://").split("/", 1)
    client = boto3.Session().client("s3")
    source = scratch / "shard"
    source.write_bytes(os.urandom(size))

    def put(number: int) -> None:
        with source.open("rb") as file:
            store.put_file(f"ours/{number:05d}.tar", file)

    def put_with_boto3(number: int) -> None:
        with source.open("rb") as file:
            client.upload_fileobj(file, bucket, f"{prefix}/theirs/{number:05d}.tar")

    def get(number: int) -> None:
        with store.local_copy(f"ours/{number:05d}.tar") as path:
            assert path.stat().st_size == size

    def get_with_boto3(number: int) -> None:
        file: IO[bytes]
        with (scratch / f"theirs-{number}").open("wb") as file:
            client.download_fileobj(bucket, f"{prefix}/theirs/{number:05d}.tar", file)

    # Warm up both.
    for work in (put, put_with_boto3, get, get_with_boto3):
        work(shards)
    ratios = []
    for name, store_work, boto3_work in (
        ("upload", put, put_with_boto3),
        ("download", get, get_with_boto3),
    ):
        seconds = [0.0, 0.0]
        for numbers in split_into_turns(shards, 8):
            for index, work in enumerate((store_work, boto3_work)):
                seconds[index] += measure(work, numbers)
        rates = [shards * size / MB / second for second in seconds]
        print(
            f"{name:<9} store {rates[0]:6.0f} MB/s   boto3 {rates[1]:6.0f} MB/s   "
            f"ratio {rates[0] / rates[1]:.2f}"
        )
        ratios.append(rates[0] / rates[1])
    return min(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a writable prefix; existing objects are not changed")
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--mb", type=float, default=20)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["ICANVAS_CACHE"] = str(scratch / "cache")
        if arguments.url:
            bucket, _, prefix = arguments.url.removeprefix("s3://").partition("/")
        else:
            (scratch / "seaweedfs").mkdir()
            server = stack.enter_context(running_s3(scratch / "seaweedfs"))
            os.environ.update(server.environment)
            bucket, prefix = BUCKET, ""
        store = S3Store(bucket, f"{prefix.strip('/')}/{time.time_ns()}".strip("/"))
        print(f"{arguments.shards} shards of {arguments.mb:g} MB")
        if compare(store, arguments.shards, int(arguments.mb * MB), scratch) < GOAL:
            sys.exit(f"A ratio is below the goal of {GOAL:.0%} of boto3's rate.")


if __name__ == "__main__":
    main()
