"""Full or read-only folders, corrupt cached shards, truncated objects in the store."""

import random
import re
from pathlib import Path

import pytest

from config.settings import get_settings
from storage import keys
from storage.pair_sets import read_current
from tests.disks import with_read_only, with_small_disk
from tests.faults.conftest import MakeEnvironment, OutcomeTable
from tests.faults.environment import Baseline, compare_with_baseline
from tests.s3 import BUCKET


def make_cache_with_weights(folder: Path) -> Path:
    """Return a new cache folder that holds HED's weights only."""
    cache = folder / "cache"
    cache.mkdir()
    for path in get_settings().cache.iterdir():
        if path.name not in ("shards", "runs", "downloads"):
            (cache / path.name).symlink_to(path)
    for name in ("shards", "runs"):
        (cache / name).mkdir()
    return cache


@pytest.mark.parametrize("command", ["prepare", "train"])
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_shard_cache_cannot_be_written(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    tmp_path: Path,
    rng: random.Random,
    what: str,
    command: str,
) -> None:
    """Shards are fetched into temporary files, or read pair by pair."""
    cache, kilobytes = make_cache_with_weights(tmp_path), 4 * rng.randrange(1, 6)
    options = {"full": f"size={kilobytes}k", "read-only": "ro"}[what]
    environment = make_environment()
    if command == "train":
        environment.copy_from(baseline.environment, "datasets")
    wrapper = with_small_disk(str(cache / "shards"), options)
    code = environment.wait(
        environment.start(command, "tiny", wrapper=wrapper, ICANVAS_CACHE=str(cache))
    )
    assert code == 0, environment.log
    outcome = compare_with_baseline(
        environment, baseline, ("datasets", "models")[: 1 + (command == "train")]
    )
    size_note = f" with {kilobytes} kB" if what == "full" else ""
    table.add(f"Shard cache {what}", f"all of `{command}`{size_note}", 1, outcome)


@pytest.mark.parametrize("what", ["full", "read-only"])
def test_training_has_no_space_for_its_files(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    tmp_path: Path,
    rng: random.Random,
    what: str,
) -> None:
    """The run ends with an error that names the folder, and resumes when there is space."""
    cache, kilobytes = make_cache_with_weights(tmp_path), rng.choice((64, 512, 16384, 24576, 32768))
    options = {"full": f"size={kilobytes}k", "read-only": "ro"}[what]
    environment = make_environment()
    environment.copy_from(baseline.environment, "datasets")
    wrapper = with_small_disk(str(cache / "runs"), options)
    code = environment.wait(
        environment.start("train", "tiny", wrapper=wrapper, ICANVAS_CACHE=str(cache))
    )
    runs = 1
    # With space for one checkpoint it may be uploaded before the next one is written.
    if code or what == "read-only" or kilobytes < 20_000:
        environment.check_error(code)
        assert "ICANVAS_CACHE" in environment.log[-1], environment.log
        runs += environment.run_until_success("train", "tiny", ICANVAS_CACHE=str(cache))
    outcome = compare_with_baseline(environment, baseline, ("datasets", "models"))
    size_note = f"{kilobytes} kB of space" if what == "full" else "all of it"
    table.add(f"Folder of a run's files {what}", size_note, runs, outcome)


def test_whole_cache_is_read_only(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    tmp_path: Path,
    moment: int,
) -> None:
    """As in a container image that holds the weights: nothing else of the cache is required."""
    cache, environment = make_cache_with_weights(tmp_path), make_environment()
    wrapper = with_read_only(str(cache))
    code = environment.wait(
        environment.start("prepare", "tiny", wrapper=wrapper, ICANVAS_CACHE=str(cache))
    )
    assert code == 0, environment.log
    outcome = compare_with_baseline(environment, baseline, ("datasets",))
    table.add("Cache folder read-only", "all of `prepare`", 1, outcome)


def test_no_space_for_temporary_files(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    tmp_path: Path,
    rng: random.Random,
) -> None:
    """The error names TMPDIR, and the same command with space succeeds."""
    temporary, kilobytes = tmp_path / "temporary", rng.choice((16, 24, 48, 64))
    temporary.mkdir()
    environment = make_environment()
    wrapper = with_small_disk(str(temporary), f"size={kilobytes}k")
    code = environment.wait(
        environment.start("prepare", "tiny", wrapper=wrapper, TMPDIR=str(temporary))
    )
    environment.check_error(code)
    assert "TMPDIR" in environment.log[-1], environment.log
    runs = 1 + environment.run_until_success("prepare", "tiny")
    outcome = compare_with_baseline(environment, baseline, ("datasets",))
    table.add("No space for temporary files", f"at {kilobytes} kB", runs, outcome)


def test_cached_shard_is_corrupt(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    tmp_path: Path,
    rng: random.Random,
) -> None:
    cache, environment = make_cache_with_weights(tmp_path), make_environment()
    environment.copy_from(baseline.environment, "datasets/tiny/raw")
    options = {"ICANVAS_CACHE": str(cache)}
    # Another threshold fills the cache without making the expected pairs.
    assert environment.run_until_success("prepare", "tiny", "--threshold", "0.4", **options) == 1
    is_shard = re.compile(r"datasets/tiny/raw/\w+/\d+\.tar").fullmatch
    digests = {digest for key, digest in baseline.hashes.items() if is_shard(key)}
    cached = [path for path in (cache / "shards").iterdir() if path.name[-64:] in digests]
    assert len(cached) == len(digests)
    damaged, position = rng.choice(sorted(cached)), rng.randrange(512, 1024)
    content = bytearray(damaged.read_bytes())
    content[position] ^= 1
    damaged.write_bytes(content)
    # As in the baseline run, there must be no previous set to compare with.
    environment.open_store().delete(keys.current_pairs("tiny"))
    num_before = len(environment.proxy.requests)
    runs = environment.run_until_success("prepare", "tiny", **options)
    fetches = environment.matcher(r"GET datasets/tiny/raw/\w+/\d+\.tar")
    assert sum(map(fetches, environment.proxy.requests[num_before:])) == 1, (
        "it was not fetched again"
    )
    current = read_current(environment.open_store(), "tiny")
    assert current is not None
    pair_folder = f"datasets/tiny/pairs/{current.fingerprint}"
    outcome = compare_with_baseline(environment, baseline, ("datasets/tiny/raw", pair_folder))
    table.add("A cached shard corrupt", f"one bit of byte {position}", runs, outcome)


@pytest.mark.parametrize(
    ("what", "command", "pattern"),
    [
        ("raw shard", "prepare", r".*/raw/\w+/\d+\.tar"),
        ("index of a raw shard", "prepare", r".*/raw/\w+/parts/.*"),
        ("shard of pairs", "prepare", r".*/pairs/\w+/(train|val)-\d+\.tar"),
        ("newest checkpoint", "train", r"models/.*/epoch-0003\.pt"),
    ],
)
def test_truncated_object_is_made_again(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    rng: random.Random,
    what: str,
    command: str,
    pattern: str,
) -> None:
    """An object is truncated after a run was killed before publishing."""
    environment = make_environment()
    for folder in ("datasets", "models")[: 1 + (command == "train")]:
        environment.copy_from(baseline.environment, folder)
    client = environment.server.client()
    # As if the run had been killed just before publishing.
    last = r".*/pairs/(\w+/manifest|current).*" if command == "prepare" else r"(?!)"
    for key in filter(re.compile(last).fullmatch, baseline.hashes):
        client.delete_object(Bucket=BUCKET, Key=f"{environment.prefix}/{key}")
    damaged = rng.choice(sorted(filter(re.compile(pattern).fullmatch, baseline.hashes)))
    name = f"{environment.prefix}/{damaged}"
    if what in ("raw shard", "index of a raw shard"):
        # A raw shard is read only if its pairs are missing.
        number = re.findall(r"\d+", damaged.rpartition("/")[2])[0]
        for key in filter(re.compile(rf".*/pairs/\w+/parts/{number}.*").fullmatch, baseline.hashes):
            client.delete_object(Bucket=BUCKET, Key=f"{environment.prefix}/{key}")
    response = client.get_object(Bucket=BUCKET, Key=name)
    body = response["Body"].read()
    # Truncate within the first bytes, or anywhere.
    num_left = rng.randrange(rng.choice((min(600, len(body)), len(body))))
    client.put_object(Bucket=BUCKET, Key=name, Body=body[:num_left], Metadata=response["Metadata"])
    runs = environment.run_until_success(command, "tiny")
    assert runs == 1, environment.log
    outcome = compare_with_baseline(
        environment, baseline, ("datasets", "models")[: 1 + (command == "train")]
    )
    table.add("An object truncated in the store", f"{what}, to {num_left} bytes", runs, outcome)
