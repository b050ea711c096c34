"""Commands with their own store behind a faulty proxy, and the comparison with a baseline run."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import IntegrityError, StorageError
from storage.pair_sets import read_current, read_manifest
from storage.s3 import S3Store
from tests.faults.faulty_proxy import Fault, FaultyProxy, ProxiedRequest
from tests.s3 import BUCKET, SeaweedFS

ICANVAS = str(Path(sys.executable).with_name("icanvas"))
COMMAND_TIMEOUT_S = 300

# Without a shard cache each pair that training reads is a request, at which a fault can strike.
NO_SHARD_CACHE = {"ICANVAS_SHARD_CACHE_GB": "0"}

# Exit codes after which the same command may be run again.
_RETRYABLE_EXIT_CODES = (IntegrityError.exit_code, StorageError.exit_code)


# Twelve files with unusual names; one picture occurs twice, one file is truncated.
PICTURE_NAMES = [
    "plain.png",
    "with blanks.png",
    "😀 smile.png",
    "two\nlines.png",
    "-rf.png",
    'quote\'s "and" more.png',
    "ü" * 125 + "!.png",  # 255 bytes
    "sub folder/plain.png",
    "%2e%2e.png",
    "twin.png",
    "again twin.png",
    "torn.png",
]


@dataclass
class Environment:
    """A store below a prefix, and the environment variables of the commands that use it.

    Attributes
    ----------
    server : SeaweedFS
        S3 server of the store.
    proxy : FaultyProxy
        Proxy through which the commands reach the server.
    prefix : str
        Prefix of the store's keys.
    variables : dict
        Environment variables of the commands.
    log : list of str
        Output of each command so far.
    """

    server: SeaweedFS
    proxy: FaultyProxy
    prefix: str
    variables: dict[str, str]
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    def matcher(self, pattern: str) -> Callable[[ProxiedRequest], bool]:
        """Return a predicate that matches ``METHOD key`` of a request from its start."""
        regex = re.compile(pattern)
        start = f"{self.prefix}/"
        return lambda request: bool(
            regex.match(f"{request.method} {request.key.removeprefix(start)}")
        )

    def start(
        self, *arguments: str, wrapper: Sequence[str] = (), **variables: str
    ) -> "subprocess.Popen[str]":
        """Start a command, optionally through a wrapper command."""
        return subprocess.Popen(
            [*wrapper, ICANVAS, *arguments],
            env={
                **os.environ,
                **self.server.environment,
                "AWS_ENDPOINT_URL_S3": self.proxy.endpoint,
                "ICANVAS_STORE": self.url,
                **self.variables,
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, process: "subprocess.Popen[str]", timeout_s: float = COMMAND_TIMEOUT_S) -> int:
        """Wait for a command and return its exit code."""
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        self.log.append(out + err)
        return process.returncode

    def run_until_success(self, *arguments: str, **variables: str) -> int:
        """Run a command until it succeeds, at most four times; return the number of runs."""
        for runs in range(1, 5):
            code = self.wait(self.start(*arguments, **variables))
            if code == 0:
                return runs
            self.check_error(code)
        raise AssertionError(f"the command failed four times: {self.log}")

    def check_error(self, code: int) -> None:
        """Assert that the last command ended with a one-line error and a retryable exit code."""
        last_line = self.log[-1].strip().splitlines()[-1]
        assert code in _RETRYABLE_EXIT_CODES, self.log[-1]
        assert last_line.startswith("icanvas: "), self.log[-1]
        assert "Traceback" not in self.log[-1]

    def open_store(self) -> S3Store:
        """Open the store without the proxy."""
        os.environ["AWS_ENDPOINT_URL_S3"] = self.server.endpoint
        return S3Store(BUCKET, self.prefix)

    def hash_objects(self) -> dict[str, str]:
        """Return the SHA-256 of every object by key, read without the proxy."""
        client, hashes = self.server.client(), {}
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self.prefix}/"
        ):
            for entry in page.get("Contents", []):
                body = client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
                key = entry["Key"].removeprefix(f"{self.prefix}/")
                if not _is_stroke_cache(key):
                    hashes[key] = hashlib.sha256(body).hexdigest()
        return hashes

    def copy_from(self, other: "Environment", folder: str) -> None:
        """Copy another store's objects below a folder, without cached strokes."""
        other_client, client = other.server.client(), self.server.client()
        listed = other_client.list_objects_v2(Bucket=BUCKET, Prefix=f"{other.prefix}/{folder}/")
        for entry in listed["Contents"]:
            if _is_stroke_cache(entry["Key"]):
                continue
            response = other_client.get_object(Bucket=BUCKET, Key=entry["Key"])
            client.put_object(
                Bucket=BUCKET,
                Key=self.prefix + entry["Key"].removeprefix(other.prefix),
                Body=response["Body"].read(),
                Metadata=response["Metadata"],
            )


@dataclass(frozen=True)
class Baseline:
    """An undisturbed run: environment, SHA-256 of its objects by key, requests of each command."""

    environment: Environment
    hashes: Mapping[str, str]
    requests: Mapping[str, Sequence[ProxiedRequest]]

    def count_requests(self, command: str, pattern: str) -> int:
        """Return how many requests of a command match the pattern."""
        return sum(map(self.environment.matcher(pattern), self.requests[command]))

    def count_requests_until(self, command: str, pattern: str, last: str) -> int:
        """Return how many of them precede the last PUT of a key that contains ``last``."""
        requests = self.requests[command]
        end = max(at for at, it in enumerate(requests) if it.method == "PUT" and last in it.key)
        return sum(map(self.environment.matcher(pattern), requests[:end]))


@dataclass(frozen=True)
class FaultOutcome:
    """Objects and manifest rows that are lost or duplicated after a fault."""

    lost: list[str]
    duplicated: list[str]


def compare_with_baseline(
    environment: Environment, baseline: Baseline, folders: Sequence[str]
) -> FaultOutcome:
    """Compare a store with the baseline's, and the manifest's rows with the source's files."""
    hashes = {
        key: digest
        for key, digest in environment.hash_objects().items()
        if key.startswith(tuple(folders))
    }
    expected = {
        key: digest for key, digest in baseline.hashes.items() if key.startswith(tuple(folders))
    }
    lost = [key for key in expected if hashes.get(key) != expected[key]]
    duplicated = [key for key in hashes if key not in expected]
    if any(folder.startswith("datasets") for folder in folders):
        rows = _compare_rows(environment)
        lost += rows.lost
        duplicated += rows.duplicated
    return FaultOutcome(lost, duplicated)


def _is_stroke_cache(key: str) -> bool:
    """Return whether a key is a stroke cache, which exists only after training."""
    return "/strokes-" in key


def _compare_rows(environment: Environment) -> FaultOutcome:
    """Check that every file of the source is exactly one row, a pair or rejected."""
    store = environment.open_store()
    current = read_current(store, "tiny")
    assert current is not None
    rows = read_manifest(store, "tiny", current.fingerprint)
    done = [row.source_path for row in rows if row.status in ("pair", "rejected")]
    lost = [f"row {path}" for path in PICTURE_NAMES if path not in done]
    duplicated = [f"row {path}" for path in set(done) if done.count(path) > 1]
    return FaultOutcome(lost, duplicated)


def fault_at_request(
    matches: Callable[[ProxiedRequest], bool], index: int, fault: Fault
) -> Callable[..., Fault | None]:
    """Return a ``FaultyProxy.fault`` that strikes once, at the matching request of that index."""
    num_seen = 0

    def strike(request: ProxiedRequest) -> Fault | None:
        nonlocal num_seen
        if not matches(request):
            return None
        num_seen += 1
        return fault if num_seen == index + 1 else None

    return strike


def make_killer(
    get_process: Callable[[], "subprocess.Popen[str]"], delay_s: float = 0
) -> Callable[[], None]:
    """Return a function that sends SIGKILL to a process, after a delay in seconds."""

    def kill() -> None:
        get_process().send_signal(signal.SIGKILL)

    return kill if not delay_s else threading.Timer(delay_s, kill).start


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until a condition holds; fail after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)
