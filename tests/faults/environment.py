"""The command, a store of its own, and what an undisturbed run leaves there."""

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
from tests.faults.faulty_proxy import Fault, Line, Request
from tests.s3 import BUCKET, SeaweedFS

ICANVAS = str(Path(sys.executable).with_name("icanvas"))
LONGEST = 300

# Where training keeps no shard here, each pair that it reads is a request, and so a moment.
EACH_PAIR = {"ICANVAS_SHARD_CACHE_GB": "0"}

# What a run may end with when the store or the cache did it wrong: run again.
_AGAIN = (IntegrityError.exit_code, StorageError.exit_code)


# Twelve pictures, of which one is there twice and one is none, under names that some files have.
NAMES = [
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
class World:
    """A store below a prefix, and the environment of the commands that use it.

    Attributes
    ----------
    server, line, prefix : where the store is, and how the commands reach it.
    environment : of the commands.
    log : what they printed to standard error, for whoever looks at a failure.
    """

    server: SeaweedFS
    line: Line
    prefix: str
    environment: dict[str, str]
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    def matcher(self, pattern: str) -> Callable[[Request], bool]:
        """Return what tells whether a request, as ``PUT models/…``, begins as the pattern says."""
        found = re.compile(pattern)
        start = f"{self.prefix}/"
        return lambda asked: bool(found.match(f"{asked.method} {asked.key.removeprefix(start)}"))

    def start(
        self, *words: str, before: Sequence[str] = (), **environment: str
    ) -> "subprocess.Popen[str]":
        """Start a command, behind another that leads to it."""
        return subprocess.Popen(
            [*before, ICANVAS, *words],
            env={
                **os.environ,
                **self.server.environment,
                "AWS_ENDPOINT_URL_S3": self.line.endpoint,
                "ICANVAS_STORE": self.url,
                **self.environment,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: "subprocess.Popen[str]", longest: float = LONGEST) -> int:
        """Wait for a command, some seconds at most, and return its exit code."""
        try:
            out, err = process.communicate(timeout=longest)
        finally:
            process.kill()
        self.log.append(out + err)
        return process.returncode

    def run_until_done(self, *words: str, **environment: str) -> int:
        """Run a command as often as its errors ask for; return how often that was."""
        for times in range(1, 5):
            code = self.end(self.start(*words, **environment))
            if code == 0:
                return times
            self.check_error(code)
        raise AssertionError(f"it does not end well: {self.log}")

    def check_error(self, code: int) -> None:
        """Hold the last command's end against what a person may be told: one line, what to do."""
        last = self.log[-1].strip().splitlines()[-1]
        assert code in _AGAIN, self.log[-1]
        assert last.startswith("icanvas: "), self.log[-1]
        assert "Traceback" not in self.log[-1]

    def store(self) -> S3Store:
        """Return the store, reached past the line; the test's credentials are the server's."""
        os.environ["AWS_ENDPOINT_URL_S3"] = self.server.endpoint
        return S3Store(BUCKET, self.prefix)

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every object, by key, read past the line."""
        client, found = self.server.client(), {}
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self.prefix}/"
        ):
            for entry in page.get("Contents", []):
                body = client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
                key = entry["Key"].removeprefix(f"{self.prefix}/")
                if not _is_strokes(key):
                    found[key] = hashlib.sha256(body).hexdigest()
        return found

    def copy_from(self, other: "World", folder: str) -> None:
        """Put another store's objects below a folder into this one, as if no one had trained."""
        theirs, ours = other.server.client(), self.server.client()
        listed = theirs.list_objects_v2(Bucket=BUCKET, Prefix=f"{other.prefix}/{folder}/")
        for entry in listed["Contents"]:
            if _is_strokes(entry["Key"]):
                continue
            kept = theirs.get_object(Bucket=BUCKET, Key=entry["Key"])
            ours.put_object(
                Bucket=BUCKET,
                Key=self.prefix + entry["Key"].removeprefix(other.prefix),
                Body=kept["Body"].read(),
                Metadata=kept["Metadata"],
            )


@dataclass(frozen=True)
class Calm:
    """An undisturbed run: its store, its objects by key and SHA-256, its commands' requests."""

    world: World
    hashes: Mapping[str, str]
    requests: Mapping[str, Sequence[Request]]

    def count(self, command: str, pattern: str) -> int:
        """Return how many requests of a command match."""
        return sum(map(self.world.matcher(pattern), self.requests[command]))

    def count_until(self, command: str, pattern: str, last: str) -> int:
        """Return how many of them come before the last write of a key with something in it."""
        asked = self.requests[command]
        end = max(at for at, it in enumerate(asked) if it.method == "PUT" and last in it.key)
        return sum(map(self.world.matcher(pattern), asked[:end]))


@dataclass(frozen=True)
class Outcome:
    """What a fault left behind: how many objects and rows are lost or doubled."""

    lost: list[str]
    doubled: list[str]


def compare(world: World, calm: Calm, folders: Sequence[str]) -> Outcome:
    """Hold a store against an undisturbed one, and its rows against its files."""
    found = {
        key: digest for key, digest in world.hashes().items() if key.startswith(tuple(folders))
    }
    wanted = {key: digest for key, digest in calm.hashes.items() if key.startswith(tuple(folders))}
    lost = [key for key in wanted if found.get(key) != wanted[key]]
    doubled = [key for key in found if key not in wanted]
    if any(folder.startswith("datasets") for folder in folders):
        more = _check_rows(world)
        lost += more.lost
        doubled += more.doubled
    return Outcome(lost, doubled)


def _is_strokes(key: str) -> bool:
    """Tell traced strokes: only there where someone trained, and never needed."""
    return "/strokes-" in key


def _check_rows(world: World) -> Outcome:
    """Every file of the source is one row: a pair, or rejected."""
    store = world.store()
    current = read_current(store, "tiny")
    assert current is not None
    rows = read_manifest(store, "tiny", current.fingerprint)
    done = [row.source_path for row in rows if row.status in ("pair", "rejected")]
    lost = [f"row {path}" for path in NAMES if path not in done]
    doubled = [f"row {path}" for path in set(done) if done.count(path) > 1]
    return Outcome(lost, doubled)


def at_moment(
    matches: Callable[[Request], bool], number: int, fault: Fault
) -> Callable[..., Fault | None]:
    """Return a line's ``fault`` that strikes once, at the matching request of that number."""
    seen = 0

    def strike(request: Request) -> Fault | None:
        nonlocal seen
        if not matches(request):
            return None
        seen += 1
        return fault if seen == number + 1 else None

    return strike


def killer(
    process_of: Callable[[], "subprocess.Popen[str]"], seconds: float = 0
) -> Callable[[], None]:
    """Return what sends SIGKILL to a process, at once or later."""

    def kill() -> None:
        process_of().send_signal(signal.SIGKILL)

    return kill if not seconds else threading.Timer(seconds, kill).start


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true; fail when it does not come."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.02)
