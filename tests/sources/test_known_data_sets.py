"""Each data set from its home: its very addresses, its layout, and what goes wrong there."""

import hashlib
from pathlib import Path

import pytest

from config.dataset import HttpSource
from config.errors import IcanvasError, IntegrityError, SourceError
from config.settings import get_settings
from sources import DatasetConfig, PrepareOptions, acquire, find_dataset
from storage import LocalStore, keys
from storage.raw_sets import read_origin
from tests.hosts import FakeHosts, Resource, html_page, status
from tests.sources.hosts_data import (
    PANDA,
    dataset_with_counts,
    encode_scene,
    list_source_paths,
    make_car_files,
    make_cartoon_files,
    make_panda_files,
    make_shoe_files,
    pack_tar,
    pack_zip,
    serve_figshare,
    serve_kaggle,
)
from tests.sources.test_tables import ADVERTS, PICTURES

GOOGLE = ("storage.googleapis.com", "/cartoonset_public_files/cartoonset100k.tgz")
MIRROR = (
    "huggingface.co",
    "/datasets/cgarciae/cartoonset/resolve/main/data/cartoonset100k.tgz",
)
SHOES = ("efrosgans.eecs.berkeley.edu", "/pix2pix/datasets/edges2shoes.tar.gz")


def small_cartoon(archive: bytes, count: int, whole: int) -> DatasetConfig:
    """Return the built-in entry with the counts and the hash of a small archive."""
    entry = find_dataset("cartoon")
    assert entry.choice is not None and entry.source.kind == "http"
    sha256 = hashlib.sha256(archive).hexdigest()
    return entry.model_copy(
        update={
            "expected": whole,
            "choice": entry.choice.model_copy(update={"count": count}),
            "source": entry.source.model_copy(update={"size": len(archive), "sha256": sha256}),
        }
    )


def test_cartoons_come_from_google(hosts: FakeHosts, store: LocalStore) -> None:
    archive = pack_tar(make_cartoon_files(30))
    hosts.add(*GOOGLE, Resource(archive))
    dataset = small_cartoon(archive, count=10, whole=30)
    raw = acquire(dataset, store)
    assert len(list_source_paths(store, raw)) == 10
    assert all(path.endswith(".png") for path in list_source_paths(store, raw))
    assert raw.warnings == ()
    # Everything is another set, for which nothing is fetched again.
    asked = len(hosts.requests)
    everything = acquire(dataset.model_copy(update={"choice": None}), store)
    assert everything.num_files == 30
    assert len(hosts.requests) == asked


def test_cartoons_come_from_the_mirror_when_google_asks_to_sign_in(
    hosts: FakeHosts, store: LocalStore
) -> None:
    archive = pack_tar(make_cartoon_files(12))
    hosts.add(*GOOGLE, Resource(archive, default_fault=html_page()))
    hosts.add(*MIRROR, Resource(archive))
    raw = acquire(small_cartoon(archive, count=5, whole=12), store)
    assert raw.num_files == 5
    origin = read_origin(store, keys.raw_origin("cartoon", raw.fingerprint))
    assert origin is not None
    assert origin.read_from.startswith("https://huggingface.co/")


def test_cartoons_of_another_hash_are_refused(hosts: FakeHosts, store: LocalStore) -> None:
    archive = pack_tar(make_cartoon_files(12))
    dataset = small_cartoon(archive, count=5, whole=12)
    other = bytearray(archive)
    other[len(other) // 2] ^= 1
    hosts.add(*GOOGLE, Resource(bytes(other)))
    hosts.add(*MIRROR, Resource(bytes(other)))
    with pytest.raises(IntegrityError, match="SHA-256"):
        acquire(dataset, store)
    hosts.add(*GOOGLE, Resource(archive))
    assert acquire(dataset, store).num_files == 5


def test_what_was_acquired_needs_no_network(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    serve_kaggle(hosts, PANDA, Resource(pack_zip(make_panda_files())))
    first = acquire(find_dataset("panda"), store)
    asked = len(hosts.requests)
    for file in (tmp_path / "cache" / "downloads" / "panda").iterdir():
        file.unlink()
    assert acquire(find_dataset("panda"), store) == first
    assert len(hosts.requests) == asked


def test_gemstones_of_both_splits(hosts: FakeHosts, store: LocalStore) -> None:
    names = [
        f"{split}/Aventurine Green/aventurine_{i}.jpg"
        for split in ("train", "test")
        for i in (1, 2)
    ]
    files = {name: encode_scene(seed) for seed, name in enumerate(names)}
    serve_kaggle(hosts, "lsind18/gemstones-images", Resource(pack_zip(files)))
    raw = acquire(dataset_with_counts("gemstone", {"**/train/**": 2, "**/test/**": 2}), store)
    assert list_source_paths(store, raw) == names


def test_cars_are_read_member_by_member(hosts: FakeHosts, store: LocalStore) -> None:
    archive = Resource(pack_zip(make_car_files()))
    serve_figshare(hosts, {34792453: ("resized_DVM_v2.zip", archive)})
    raw = acquire(
        dataset_with_counts("car", {"**/BMW/5 Series/**": 3, "**/BMW/7 Series/**": 3}), store
    )
    assert [path.split("/")[2] for path in list_source_paths(store, raw)] == ["5 Series"] * 3 + [
        "7 Series"
    ] * 3
    origin = read_origin(store, keys.raw_origin("car", raw.fingerprint))
    assert origin is not None
    assert origin.host_metadata["licence"] == "CC BY-NC 4.0"


def test_cars_are_chosen_by_their_tables(hosts: FakeHosts, store: LocalStore) -> None:
    names = [line.split(",")[2].replace("'", "") for line in PICTURES.splitlines()[1:]]
    files = {
        f"resized_DVM/BMW/{name.split('$$')[1]}/{name}": encode_scene(seed)
        for seed, name in enumerate(names)
    }
    tables = {"tables_V2.0/Ad_table.csv": ADVERTS, "tables_V2.0/Image_table.csv": PICTURES}
    packed = pack_zip({name: text.encode() for name, text in tables.items()})
    saloons = find_dataset(
        "car", PrepareOptions(where={"body_type": ("Saloon",), "viewpoint": ("0",)})
    )
    serve_figshare(hosts, {34792453: ("resized_DVM_v2.zip", Resource(pack_zip(files)))})
    with pytest.raises(SourceError, match=r"run the same with --tables PATH\.$"):
        acquire(saloons, store)
    serve_figshare(
        hosts,
        {
            34792453: ("resized_DVM_v2.zip", Resource(pack_zip(files))),
            34792483: ("tables_V2.0.zip", Resource(packed)),
        },
    )
    raw = acquire(saloons, store)
    assert [path.rsplit("/")[-1] for path in list_source_paths(store, raw)] == names[:1]
    assert raw.warnings == (), "a choice is not expected to be whole"
    asked = len(hosts.requests)
    assert acquire(saloons, store) == raw
    assert len(hosts.requests) == asked


def test_figshare_answers_with_a_challenge(hosts: FakeHosts, store: LocalStore) -> None:
    """An empty 202 is how its other addresses answer programs."""
    archive = Resource(pack_zip(make_car_files()))
    archive.default_fault = status(202, x_amzn_waf_action="challenge")
    serve_figshare(hosts, {34792453: ("resized_DVM_v2.zip", archive)})
    with pytest.raises(SourceError, match=r"challenge.*--archive"):
        acquire(dataset_with_counts("car"), store)
    hosts.add("ndownloader.figshare.com", "/files/34792453", Resource(archive.content))
    assert acquire(dataset_with_counts("car"), store).num_files == 6


def test_figshare_tells_what_a_file_must_be(hosts: FakeHosts, store: LocalStore) -> None:
    archive = Resource(pack_zip(make_car_files()))
    serve_figshare(hosts, {34792453: ("resized_DVM_v2.zip", archive)})
    hosts.add("ndownloader.figshare.com", "/files/34792453", archive)
    whole, archive.content = archive.content, archive.content[:-1] + b"x"
    with pytest.raises(IntegrityError, match="MD5"):
        acquire(dataset_with_counts("car"), store)
    archive.content = whole
    assert acquire(dataset_with_counts("car"), store).num_files == 6


def test_shoes_come_as_pairs(hosts: FakeHosts, store: LocalStore) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files())))
    raw = acquire(dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3}), store)
    assert raw.num_files == 5
    assert {path.split("/")[1] for path in list_source_paths(store, raw)} == {"train", "val"}
    assert hosts.requests[0].scheme == "https"


def test_shoes_over_http_only_if_asked(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hash of them is published, so that anybody on the way could change them."""
    hosts.add(
        *SHOES,
        lambda request: Resource(
            pack_tar(make_shoe_files()),
            default_fault=status(503) if request.scheme == "https" else None,
        )(request),
    )
    with pytest.raises(IcanvasError, match="--allow-http"):
        acquire(dataset_with_counts("shoes"), store)
    assert all(request.scheme == "https" for request in hosts.requests)
    monkeypatch.setenv("ICANVAS_ALLOW_HTTP", "1")
    get_settings.cache_clear()
    assert acquire(dataset_with_counts("shoes"), store).num_files == 5


def test_a_short_archive_is_told_and_may_do(hosts: FakeHosts, store: LocalStore) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files(train=2))))
    dataset = dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3})
    with pytest.raises(SourceError, match=r"2 of 3 pictures in \*\*/train/\*_AB\.jpg"):
        acquire(dataset, store)
    asked = len(hosts.requests)
    raw = acquire(dataset, store, allow_partial=True)
    assert raw.num_files == 4
    assert "2 of 3" in raw.warnings[0]
    assert len(hosts.requests) == asked, "what was read is kept"


def test_a_host_that_sent_too_little_is_asked_again(hosts: FakeHosts, store: LocalStore) -> None:
    """Neither a hash nor the format can tell, only the number of pictures."""
    archive = Resource(pack_tar(make_shoe_files(train=2)))
    hosts.add(*SHOES, archive)
    dataset = dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3})
    with pytest.raises(SourceError, match=r"2 of 3 .*run again to fetch it anew"):
        acquire(dataset, store)
    archive.content, archive.etag = pack_tar(make_shoe_files(train=3)), '"mended"'
    raw = acquire(dataset, store)
    assert (raw.num_files, raw.warnings) == (5, ())
    asked = len(hosts.requests)
    assert acquire(dataset, store) == raw
    assert len(hosts.requests) == asked


def test_more_than_expected_is_a_warning(hosts: FakeHosts, store: LocalStore) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files(train=4))))
    raw = acquire(dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3}), store)
    assert raw.warnings == ("4 of 3 pictures in **/train/*_AB.jpg",)


def test_a_copy_of_ones_own_asks_nobody(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    """It is the same raw set, and stands for the source from then on."""
    archive = pack_zip(make_panda_files())
    (tmp_path / "mine.zip").write_bytes(archive)
    mine = acquire(find_dataset("panda", PrepareOptions(archive=str(tmp_path / "mine.zip"))), store)
    assert hosts.requests == []
    assert acquire(find_dataset("panda"), store) == mine
    assert hosts.requests == []
    serve_kaggle(hosts, PANDA, Resource(archive))
    fresh = LocalStore(tmp_path / "other-store")
    assert acquire(find_dataset("panda"), fresh).fingerprint == mine.fingerprint


def test_without_network(hosts: FakeHosts, store: LocalStore) -> None:
    with pytest.raises(SourceError, match=r"api\.kaggle\.com cannot be reached"):
        acquire(find_dataset("panda"), store)
    with pytest.raises(SourceError, match=r"storage\.googleapis\.com.*--archive"):
        acquire(find_dataset("cartoon"), store)


def test_an_archive_that_is_damaged_at_its_home_is_not_kept(
    hosts: FakeHosts, store: LocalStore
) -> None:
    """No hash of it is known, so that only reading it can tell."""
    whole = pack_tar(make_shoe_files())
    archive = Resource(whole[: len(whole) // 2])
    hosts.add(*SHOES, archive)
    with pytest.raises(IntegrityError, match="is removed: run again"):
        acquire(dataset_with_counts("shoes"), store)
    archive.content, archive.etag = whole, '"mended"'
    assert acquire(dataset_with_counts("shoes"), store).num_files == 5


def test_a_sound_archive_is_kept_when_the_store_is_damaged(
    hosts: FakeHosts, store: LocalStore
) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files())))
    dataset = dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3})
    raw = acquire(dataset, store)
    store.delete(keys.raw_index("shoes", raw.fingerprint))
    part = next(key for key in store.list_keys("datasets/shoes/raw") if "/parts/" in key)
    table = store.get(part)
    store.put(part, b"no table")
    asked = len(hosts.requests)
    assert acquire(dataset, store) == raw
    assert len(hosts.requests) == asked, "the archive was still there"
    assert store.get(part) == table, "it was made anew"


def test_the_same_name_at_another_address_is_another_file(
    hosts: FakeHosts, store: LocalStore
) -> None:
    for year, files in ((2024, make_panda_files(2, 1)), (2025, make_panda_files(3, 1))):
        hosts.add("example.org", f"/{year}/data.zip", Resource(pack_zip(files)))
    counts = []
    for year in (2024, 2025):
        source = HttpSource(kind="http", urls=(f"https://example.org/{year}/data.zip",))
        changes = {"source": source, "selection": ("**/Pandas/*",)}
        counts.append(
            acquire(dataset_with_counts("panda").model_copy(update=changes), store).num_files
        )
    assert counts == [3, 4]


def test_what_was_allowed_to_be_partial_is_not_whole_for_ever(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    whole = pack_zip(make_panda_files())
    serve_kaggle(hosts, PANDA, Resource(whole))
    (tmp_path / "half.zip").write_bytes(pack_zip(make_panda_files(100, 20)))
    half = find_dataset("panda", PrepareOptions(archive=str(tmp_path / "half.zip")))
    assert acquire(half, store, allow_partial=True).num_files == 120
    with pytest.raises(SourceError, match="120 of 300"):
        acquire(half, store)
    assert acquire(find_dataset("panda"), store).num_files == 300, "the host has the whole set"


def test_a_choice_from_another_archive_is_told(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    archive = pack_tar(make_cartoon_files(20))
    dataset = small_cartoon(archive, count=5, whole=20)
    (tmp_path / "other.tgz").write_bytes(pack_tar(make_cartoon_files(10)))
    own = dataset.model_copy(update={"archive": str(tmp_path / "other.tgz")})
    with pytest.raises(SourceError, match="10 of 20 pictures to choose from"):
        acquire(own, store)
    warnings = acquire(own, store, allow_partial=True).warnings
    assert "10 of 20 pictures to choose from" in warnings
    assert any("known by its SHA-256" in warning for warning in warnings)
    # It does not stand for an archive of another hash.
    hosts.add(*GOOGLE, Resource(archive))
    assert acquire(dataset, store).warnings == ()


def test_tables_are_remembered_beside_the_whole_set(hosts: FakeHosts, store: LocalStore) -> None:
    tables = {"Ad_table.csv": ADVERTS, "Image_table.csv": PICTURES}
    packed = pack_zip({name: text.encode() for name, text in tables.items()})
    names = [line.split(",")[2].replace("'", "") for line in PICTURES.splitlines()[1:]]
    files = {f"BMW/5 Series/{name}": encode_scene(seed) for seed, name in enumerate(names)}
    serve_figshare(
        hosts,
        {
            34792453: ("resized_DVM_v2.zip", Resource(pack_zip(files))),
            34792483: ("tables_V2.0.zip", Resource(packed)),
        },
    )
    chosen = find_dataset("car", PrepareOptions(where={"quality": ("P",)}))
    first = acquire(chosen, store)
    acquire(dataset_with_counts("car"), store)
    asked = len(hosts.requests)
    assert acquire(chosen, store) == first
    assert len(hosts.requests) == asked
    with pytest.raises(SourceError, match=r"--where viewpoint=180 and --where quality=n|quality=n"):
        acquire(
            find_dataset("car", PrepareOptions(where={"quality": ("N",), "viewpoint": ("180",)})),
            store,
        )
