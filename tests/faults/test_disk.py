"""A cache that is full, read-only or damaged, objects that are truncated, a disk without space."""

import random
import re
from pathlib import Path

import pytest

from config.settings import get_settings
from storage import keys
from storage.pair_sets import read_current
from tests.disks import with_read_only, with_small_disk
from tests.faults.conftest import Make, Table
from tests.faults.environment import Calm, compare
from tests.s3 import BUCKET


def cache_with_weights(folder: Path) -> Path:
    """Return a new cache in which HED's weights are, and nothing else."""
    cache = folder / "cache"
    cache.mkdir()
    for kept in get_settings().cache.iterdir():
        if kept.name not in ("shards", "runs", "downloads"):
            (cache / kept.name).symlink_to(kept)
    for own in ("shards", "runs"):
        (cache / own).mkdir()
    return cache


@pytest.mark.parametrize("command", ["prepare", "train"])
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_the_shard_cache_cannot_be_written(
    make_world: Make,
    calm: Calm,
    table: Table,
    tmp_path: Path,
    chance: random.Random,
    what: str,
    command: str,
) -> None:
    """Slower, not impossible: shards are fetched into temporary files, or read pair by pair."""
    cache, kilobytes = cache_with_weights(tmp_path), 4 * chance.randrange(1, 6)
    options = {"full": f"size={kilobytes}k", "read-only": "ro"}[what]
    world = make_world()
    if command == "train":
        world.copy_from(calm.world, "datasets")
    before = with_small_disk(str(cache / "shards"), options)
    code = world.end(world.start(command, "tiny", before=before, ICANVAS_CACHE=str(cache)))
    assert code == 0, world.log
    outcome = compare(world, calm, ("datasets", "models")[: 1 + (command == "train")])
    room = f" with {kilobytes} kB" if what == "full" else ""
    table.add(f"Shard cache {what}", f"all of `{command}`{room}", 1, outcome)


@pytest.mark.parametrize("what", ["full", "read-only"])
def test_training_has_no_room_for_its_files(
    make_world: Make,
    calm: Calm,
    table: Table,
    tmp_path: Path,
    chance: random.Random,
    what: str,
) -> None:
    """They wait there for the store: an error says so, and with room the run goes on."""
    cache, kilobytes = cache_with_weights(tmp_path), chance.choice((64, 512, 16384, 24576, 32768))
    options = {"full": f"size={kilobytes}k", "read-only": "ro"}[what]
    world = make_world()
    world.copy_from(calm.world, "datasets")
    before = with_small_disk(str(cache / "runs"), options)
    code = world.end(world.start("train", "tiny", before=before, ICANVAS_CACHE=str(cache)))
    runs = 1
    # With room for one checkpoint it may be pushed before the next one comes.
    if code or what == "read-only" or kilobytes < 20_000:
        world.check_error(code)
        assert "ICANVAS_CACHE" in world.log[-1], world.log
        runs += world.run_until_done("train", "tiny", ICANVAS_CACHE=str(cache))
    outcome = compare(world, calm, ("datasets", "models"))
    room = f"{kilobytes} kB of room" if what == "full" else "all of it"
    table.add(f"Folder of a run's files {what}", room, runs, outcome)


def test_the_whole_cache_is_read_only(
    make_world: Make, calm: Calm, table: Table, tmp_path: Path, moment: int
) -> None:
    """As an image that holds the weights: nothing else is needed of it."""
    cache, world = cache_with_weights(tmp_path), make_world()
    before = with_read_only(str(cache))
    code = world.end(world.start("prepare", "tiny", before=before, ICANVAS_CACHE=str(cache)))
    assert code == 0, world.log
    outcome = compare(world, calm, ("datasets",))
    table.add("Cache folder read-only", "all of `prepare`", 1, outcome)


def test_there_is_no_room_for_temporary_files(
    make_world: Make, calm: Calm, table: Table, tmp_path: Path, chance: random.Random
) -> None:
    """What does not fit is an error that says so; with room again it goes on."""
    scratch, kilobytes = tmp_path / "scratch", chance.choice((16, 24, 48, 64))
    scratch.mkdir()
    world = make_world()
    before = with_small_disk(str(scratch), f"size={kilobytes}k")
    code = world.end(world.start("prepare", "tiny", before=before, TMPDIR=str(scratch)))
    world.check_error(code)
    assert "TMPDIR" in world.log[-1], world.log
    runs = 1 + world.run_until_done("prepare", "tiny")
    outcome = compare(world, calm, ("datasets",))
    table.add("No room for temporary files", f"at {kilobytes} kB", runs, outcome)


def test_a_cached_shard_is_damaged(
    make_world: Make, calm: Calm, table: Table, tmp_path: Path, chance: random.Random
) -> None:
    cache, world = cache_with_weights(tmp_path), make_world()
    world.copy_from(calm.world, "datasets/tiny/raw")
    options = {"ICANVAS_CACHE": str(cache)}
    # Fills the cache, for pairs at another threshold.
    assert world.run_until_done("prepare", "tiny", "--threshold", "0.4", **options) == 1
    is_shard = re.compile(r"datasets/tiny/raw/\w+/\d+\.tar").fullmatch
    digests = {digest for key, digest in calm.hashes.items() if is_shard(key)}
    cached = [path for path in (cache / "shards").iterdir() if path.name[-64:] in digests]
    assert len(cached) == len(digests)
    damaged, place = chance.choice(sorted(cached)), chance.randrange(512, 1024)
    content = bytearray(damaged.read_bytes())
    content[place] ^= 1
    damaged.write_bytes(content)
    # As in the calm run, there is no set in use that the new one is compared with.
    world.store().delete(keys.current_pairs("tiny"))
    asked = len(world.line.requests)
    runs = world.run_until_done("prepare", "tiny", **options)
    fetches = world.matcher(r"GET datasets/tiny/raw/\w+/\d+\.tar")
    assert sum(map(fetches, world.line.requests[asked:])) == 1, "it was not fetched again"
    current = read_current(world.store(), "tiny")
    assert current is not None
    made = f"datasets/tiny/pairs/{current.fingerprint}"
    outcome = compare(world, calm, ("datasets/tiny/raw", made))
    table.add("A cached shard damaged", f"one bit of byte {place}", runs, outcome)


@pytest.mark.parametrize(
    ("what", "command", "pattern"),
    [
        ("raw shard", "prepare", r".*/raw/\w+/\d+\.tar"),
        ("index of a raw shard", "prepare", r".*/raw/\w+/parts/.*"),
        ("shard of pairs", "prepare", r".*/pairs/\w+/(train|val)-\d+\.tar"),
        ("newest checkpoint", "train", r"models/.*/epoch-0003\.pt"),
    ],
)
def test_a_truncated_object_is_made_anew(
    make_world: Make,
    calm: Calm,
    table: Table,
    chance: random.Random,
    what: str,
    command: str,
    pattern: str,
) -> None:
    """An object loses its end, behind the back of a run that was killed before it published."""
    world = make_world()
    for folder in ("datasets", "models")[: 1 + (command == "train")]:
        world.copy_from(calm.world, folder)
    client = world.server.client()
    # As if killed just before.
    last = r".*/pairs/(\w+/manifest|current).*" if command == "prepare" else r"(?!)"
    for key in filter(re.compile(last).fullmatch, calm.hashes):
        client.delete_object(Bucket=BUCKET, Key=f"{world.prefix}/{key}")
    damaged = chance.choice(sorted(filter(re.compile(pattern).fullmatch, calm.hashes)))
    name = f"{world.prefix}/{damaged}"
    if what in ("raw shard", "index of a raw shard"):
        # It is read only where its pairs are still to be made.
        number = re.findall(r"\d+", damaged.rpartition("/")[2])[0]
        for key in filter(re.compile(rf".*/pairs/\w+/parts/{number}.*").fullmatch, calm.hashes):
            client.delete_object(Bucket=BUCKET, Key=f"{world.prefix}/{key}")
    whole = client.get_object(Bucket=BUCKET, Key=name)
    body = whole["Body"].read()
    # Within the first bytes, or anywhere.
    left = chance.randrange(chance.choice((min(600, len(body)), len(body))))
    client.put_object(Bucket=BUCKET, Key=name, Body=body[:left], Metadata=whole["Metadata"])
    runs = world.run_until_done(command, "tiny")
    assert runs == 1, world.log
    outcome = compare(world, calm, ("datasets", "models")[: 1 + (command == "train")])
    table.add("An object truncated in the store", f"{what}, to {left} bytes", runs, outcome)
