"""The built-in data sets: their URLs, their layout, and faults of their hosts."""

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


def small_cartoon(archive: bytes, count: int, total: int) -> DatasetConfig:
    """Return the built-in entry with the expected counts and the hash of a small archive."""
    entry = find_dataset("cartoon")
    assert entry.choice is not None and entry.source.kind == "http"
    sha256 = hashlib.sha256(archive).hexdigest()
    return entry.model_copy(
        update={
            "expected": total,
            "choice": entry.choice.model_copy(update={"count": count}),
            "source": entry.source.model_copy(update={"size": len(archive), "sha256": sha256}),
        }
    )


def test_cartoon_is_downloaded_from_google(hosts: FakeHosts, store: LocalStore) -> None:
    archive = pack_tar(make_cartoon_files(30))
    hosts.add(*GOOGLE, Resource(archive))
    dataset = small_cartoon(archive, count=10, total=30)
    raw = acquire(dataset, store)
    assert len(list_source_paths(store, raw)) == 10
    assert all(path.endswith(".png") for path in list_source_paths(store, raw))
    assert raw.warnings == ()
    # All pictures are another raw set, which needs no further download.
    num_requests = len(hosts.requests)
    everything = acquire(dataset.model_copy(update={"choice": None}), store)
    assert everything.num_files == 30
    assert len(hosts.requests) == num_requests


def test_cartoon_is_downloaded_from_the_mirror_if_google_sends_a_login_page(
    hosts: FakeHosts, store: LocalStore
) -> None:
    archive = pack_tar(make_cartoon_files(12))
    hosts.add(*GOOGLE, Resource(archive, default_fault=html_page()))
    hosts.add(*MIRROR, Resource(archive))
    raw = acquire(small_cartoon(archive, count=5, total=12), store)
    assert raw.num_files == 5
    origin = read_origin(store, keys.raw_origin("cartoon", raw.fingerprint))
    assert origin is not None
    assert origin.read_from.startswith("https://huggingface.co/")


def test_cartoon_with_another_hash_is_refused(hosts: FakeHosts, store: LocalStore) -> None:
    archive = pack_tar(make_cartoon_files(12))
    dataset = small_cartoon(archive, count=5, total=12)
    other = bytearray(archive)
    other[len(other) // 2] ^= 1
    hosts.add(*GOOGLE, Resource(bytes(other)))
    hosts.add(*MIRROR, Resource(bytes(other)))
    with pytest.raises(IntegrityError, match="SHA-256"):
        acquire(dataset, store)
    hosts.add(*GOOGLE, Resource(archive))
    assert acquire(dataset, store).num_files == 5


def test_acquired_data_set_needs_no_network(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    serve_kaggle(hosts, PANDA, Resource(pack_zip(make_panda_files())))
    first = acquire(find_dataset("panda"), store)
    num_requests = len(hosts.requests)
    for file in (tmp_path / "cache" / "downloads" / "panda").iterdir():
        file.unlink()
    assert acquire(find_dataset("panda"), store) == first
    assert len(hosts.requests) == num_requests


def test_gemstone_is_acquired_with_both_splits(hosts: FakeHosts, store: LocalStore) -> None:
    names = [
        f"{split}/Aventurine Green/aventurine_{i}.jpg"
        for split in ("train", "test")
        for i in (1, 2)
    ]
    files = {name: encode_scene(seed) for seed, name in enumerate(names)}
    serve_kaggle(hosts, "lsind18/gemstones-images", Resource(pack_zip(files)))
    raw = acquire(dataset_with_counts("gemstone", {"**/train/**": 2, "**/test/**": 2}), store)
    assert list_source_paths(store, raw) == names


def test_car_is_read_by_member(hosts: FakeHosts, store: LocalStore) -> None:
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


def test_car_is_selected_by_tables(hosts: FakeHosts, store: LocalStore) -> None:
    names = [line.split(",")[2].replace("'", "") for line in PICTURES.splitlines()[1:]]
    files = {
        f"resized_DVM/BMW/{name.split('$$')[1]}/{name}": encode_scene(seed)
        for seed, name in enumerate(names)
    }
    tables = {"tables_V2.0/Ad_table.csv": ADVERTS, "tables_V2.0/Image_table.csv": PICTURES}
    tables_zip = pack_zip({name: text.encode() for name, text in tables.items()})
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
            34792483: ("tables_V2.0.zip", Resource(tables_zip)),
        },
    )
    raw = acquire(saloons, store)
    assert [path.rsplit("/")[-1] for path in list_source_paths(store, raw)] == names[:1]
    assert raw.warnings == (), "nothing is expected of a selection by tables"
    num_requests = len(hosts.requests)
    assert acquire(saloons, store) == raw
    assert len(hosts.requests) == num_requests


def test_bot_challenge_of_figshare_is_reported(hosts: FakeHosts, store: LocalStore) -> None:
    """The URLs of figshare's website answer programs with an empty 202."""
    archive = Resource(pack_zip(make_car_files()))
    archive.default_fault = status(202, x_amzn_waf_action="challenge")
    serve_figshare(hosts, {34792453: ("resized_DVM_v2.zip", archive)})
    with pytest.raises(SourceError, match=r"challenge.*--archive"):
        acquire(dataset_with_counts("car"), store)
    hosts.add("ndownloader.figshare.com", "/files/34792453", Resource(archive.content))
    assert acquire(dataset_with_counts("car"), store).num_files == 6


def test_md5_of_figshare_is_checked(hosts: FakeHosts, store: LocalStore) -> None:
    archive = Resource(pack_zip(make_car_files()))
    serve_figshare(hosts, {34792453: ("resized_DVM_v2.zip", archive)})
    hosts.add("ndownloader.figshare.com", "/files/34792453", archive)
    original, archive.content = archive.content, archive.content[:-1] + b"x"
    with pytest.raises(IntegrityError, match="MD5"):
        acquire(dataset_with_counts("car"), store)
    archive.content = original
    assert acquire(dataset_with_counts("car"), store).num_files == 6


def test_shoes_are_acquired_as_pairs(hosts: FakeHosts, store: LocalStore) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files())))
    raw = acquire(dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3}), store)
    assert raw.num_files == 5
    assert {path.split("/")[1] for path in list_source_paths(store, raw)} == {"train", "val"}
    assert hosts.requests[0].scheme == "https"


def test_shoes_use_plain_http_only_if_allowed(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hash is published, so that the bytes could be modified on the way."""
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


def test_incomplete_archive_is_reported_and_can_be_accepted(
    hosts: FakeHosts, store: LocalStore
) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files(train=2))))
    dataset = dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3})
    with pytest.raises(SourceError, match=r"2 of 3 pictures in \*\*/train/\*_AB\.jpg"):
        acquire(dataset, store)
    num_requests = len(hosts.requests)
    raw = acquire(dataset, store, allow_partial=True)
    assert raw.num_files == 4
    assert "2 of 3" in raw.warnings[0]
    assert len(hosts.requests) == num_requests, "the raw set is reused"


def test_incomplete_download_is_requested_again(hosts: FakeHosts, store: LocalStore) -> None:
    """Only the number of pictures shows that the archive is incomplete."""
    archive = Resource(pack_tar(make_shoe_files(train=2)))
    hosts.add(*SHOES, archive)
    dataset = dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3})
    with pytest.raises(SourceError, match=r"2 of 3 .*run again to download it again"):
        acquire(dataset, store)
    archive.content, archive.etag = pack_tar(make_shoe_files(train=3)), '"complete"'
    raw = acquire(dataset, store)
    assert (raw.num_files, raw.warnings) == (5, ())
    num_requests = len(hosts.requests)
    assert acquire(dataset, store) == raw
    assert len(hosts.requests) == num_requests


def test_more_pictures_than_expected_are_a_warning(hosts: FakeHosts, store: LocalStore) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files(train=4))))
    raw = acquire(dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3}), store)
    assert raw.warnings == ("4 of 3 pictures in **/train/*_AB.jpg",)


def test_local_copy_sends_no_request(hosts: FakeHosts, store: LocalStore, tmp_path: Path) -> None:
    """The raw set is the same, and is found for the source afterwards."""
    archive = pack_zip(make_panda_files())
    (tmp_path / "mine.zip").write_bytes(archive)
    own = acquire(find_dataset("panda", PrepareOptions(archive=str(tmp_path / "mine.zip"))), store)
    assert hosts.requests == []
    assert acquire(find_dataset("panda"), store) == own
    assert hosts.requests == []
    serve_kaggle(hosts, PANDA, Resource(archive))
    other_store = LocalStore(tmp_path / "other-store")
    assert acquire(find_dataset("panda"), other_store).fingerprint == own.fingerprint


def test_missing_network_is_reported(hosts: FakeHosts, store: LocalStore) -> None:
    with pytest.raises(SourceError, match=r"api\.kaggle\.com cannot be reached"):
        acquire(find_dataset("panda"), store)
    with pytest.raises(SourceError, match=r"storage\.googleapis\.com.*--archive"):
        acquire(find_dataset("cartoon"), store)


def test_corrupt_download_is_deleted(hosts: FakeHosts, store: LocalStore) -> None:
    """No hash is known, so that the corruption is only detected by reading."""
    content = pack_tar(make_shoe_files())
    archive = Resource(content[: len(content) // 2])
    hosts.add(*SHOES, archive)
    with pytest.raises(IntegrityError, match="was deleted: run again"):
        acquire(dataset_with_counts("shoes"), store)
    archive.content, archive.etag = content, '"complete"'
    assert acquire(dataset_with_counts("shoes"), store).num_files == 5


def test_download_is_kept_if_the_store_is_corrupt(hosts: FakeHosts, store: LocalStore) -> None:
    hosts.add(*SHOES, Resource(pack_tar(make_shoe_files())))
    dataset = dataset_with_counts("shoes", {"**/train/*_AB.jpg": 3})
    raw = acquire(dataset, store)
    store.delete(keys.raw_index("shoes", raw.fingerprint))
    part = next(key for key in store.list_keys("datasets/shoes/raw") if "/parts/" in key)
    table = store.get(part)
    store.put(part, b"no table")
    num_requests = len(hosts.requests)
    assert acquire(dataset, store) == raw
    assert len(hosts.requests) == num_requests, "the archive is reused"
    assert store.get(part) == table, "it was written again"


def test_same_file_name_at_another_url_is_another_file(hosts: FakeHosts, store: LocalStore) -> None:
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


def test_partial_set_is_replaced_by_the_complete_one(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    complete = pack_zip(make_panda_files())
    serve_kaggle(hosts, PANDA, Resource(complete))
    (tmp_path / "half.zip").write_bytes(pack_zip(make_panda_files(100, 20)))
    half = find_dataset("panda", PrepareOptions(archive=str(tmp_path / "half.zip")))
    assert acquire(half, store, allow_partial=True).num_files == 120
    with pytest.raises(SourceError, match="120 of 300"):
        acquire(half, store)
    assert acquire(find_dataset("panda"), store).num_files == 300, "the host has the complete set"


def test_subset_of_another_archive_is_reported(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path
) -> None:
    archive = pack_tar(make_cartoon_files(20))
    dataset = small_cartoon(archive, count=5, total=20)
    (tmp_path / "other.tgz").write_bytes(pack_tar(make_cartoon_files(10)))
    own = dataset.model_copy(update={"archive": str(tmp_path / "other.tgz")})
    with pytest.raises(SourceError, match="10 of 20 pictures to choose from"):
        acquire(own, store)
    warnings = acquire(own, store, allow_partial=True).warnings
    assert "10 of 20 pictures to choose from" in warnings
    assert any("SHA-256 of the catalogue" in warning for warning in warnings)
    # An archive with another hash is not used for the source.
    hosts.add(*GOOGLE, Resource(archive))
    assert acquire(dataset, store).warnings == ()


def test_tables_are_reused_after_acquiring_the_complete_set(
    hosts: FakeHosts, store: LocalStore
) -> None:
    tables = {"Ad_table.csv": ADVERTS, "Image_table.csv": PICTURES}
    tables_zip = pack_zip({name: text.encode() for name, text in tables.items()})
    names = [line.split(",")[2].replace("'", "") for line in PICTURES.splitlines()[1:]]
    files = {f"BMW/5 Series/{name}": encode_scene(seed) for seed, name in enumerate(names)}
    serve_figshare(
        hosts,
        {
            34792453: ("resized_DVM_v2.zip", Resource(pack_zip(files))),
            34792483: ("tables_V2.0.zip", Resource(tables_zip)),
        },
    )
    selected = find_dataset("car", PrepareOptions(where={"quality": ("P",)}))
    first = acquire(selected, store)
    acquire(dataset_with_counts("car"), store)
    num_requests = len(hosts.requests)
    assert acquire(selected, store) == first
    assert len(hosts.requests) == num_requests
    with pytest.raises(SourceError, match=r"--where viewpoint=180 and --where quality=n|quality=n"):
        acquire(
            find_dataset("car", PrepareOptions(where={"quality": ("N",), "viewpoint": ("180",)})),
            store,
        )
