"""The eight data sets as their hosts serve them, in small generated archives."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping

import cv2
import numpy as np

from sources import DatasetConfig, RawSet, find_dataset
from storage import LocalStore, keys
from storage.manifest import rows_from_parquet
from tests.conftest import draw_scene, encode
from tests.hosts import FakeHosts, Reply, Request, Resource

PANDA = "mattop/panda-or-bear-image-classification"
SIGNED_QUERY = "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=secret-signature"
TOKEN = "secret-token"


def encode_scene(seed: int, side: int = 48, kind: str = "JPEG") -> bytes:
    return encode(draw_scene(seed, side, side), kind)


def encode_pair(seed: int) -> bytes:
    """Return a 512×256 JPEG pair in pix2pix's layout: drawing left, picture right."""
    scene = draw_scene(seed, 256, 256)
    edges = 255 - cv2.Canny(scene, 50, 150)
    return encode(np.hstack([np.repeat(edges[..., None], 3, 2), scene]).astype(np.uint8), "JPEG")


def pack_zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pack_tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def make_cartoon_files(count: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for number in range(count):
        stem = f"cartoonset100k/{number % 10}/cs{number * 7919}"
        files[f"{stem}.png"] = encode_scene(number, kind="PNG")
        files[f"{stem}.csv"] = b'"face_shape", 4, 7\n'
    return files


def make_panda_files(train: int = 250, test: int = 50) -> dict[str, bytes]:
    files = {}
    for split, count, first in (("Train", train, 0), ("Test", test, train)):
        for number in range(count):
            # Equal names in both splits.
            files[f"PandasBears/{split}/Pandas/p{number}.jpeg"] = encode_scene(first + number)
            files[f"PandasBears/{split}/Bears/b{number}.jpeg"] = b"not read"
    return files


def make_car_files() -> dict[str, bytes]:
    files = {}
    models = (
        ("BMW", "5 Series"),
        ("BMW", "7 Series"),
        ("BMW", "5 Series Gran Turismo"),
        ("Audi", "A6"),
    )
    for number, (maker, model) in enumerate(models):
        for copy in range(3):
            stem = f"{maker}$${model}$$201{copy}$$Red$$8_{number}$$21$$image_{copy}.jpg"
            path = f"resized_DVM/{maker}/{model}/201{copy}/Red/{stem}"
            files[path] = encode_scene(10 * number + copy)
    return files


def make_shoe_files(train: int = 3, val: int = 2) -> dict[str, bytes]:
    files = {}
    for split, count, first in (("train", train, 0), ("val", val, train)):
        for number in range(count):
            files[f"edges2shoes/{split}/{number + 1}_AB.jpg"] = encode_pair(first + number)
    return files


def serve_kaggle(
    hosts: FakeHosts, handle: str, archive: Resource, version: int = 3, token: str | None = None
) -> None:
    """Serve Kaggle's API: two POST endpoints, the second of which redirects to a signed URL.

    If ``token`` is set, requests without it are refused.
    """
    service = "/v1/datasets.DatasetApiService"
    owner, slug = handle.split("/")

    def check_token(request: Request) -> Reply | None:
        is_refused = token is not None and request.headers.get("authorization") != f"Bearer {token}"
        if not is_refused:
            return None
        code = 401 if "authorization" in request.headers else 403
        return _json({"code": code, "message": "Permission denied"}, code)

    def metadata(request: Request) -> Reply:
        if json.loads(request.body) != {"ownerSlug": owner, "datasetSlug": slug}:
            return _json({"code": 404, "message": "Not found"}, 404)
        body = {
            "title": slug.replace("-", " "),
            "licenseName": "CC0: Public Domain",
            "currentVersionNumber": version,
            "totalBytes": len(archive.content),
        }
        return check_token(request) or _json(body)

    def signed_url(request: Request) -> Reply:
        assert json.loads(request.body)["datasetVersionNumber"] == str(version)
        location = f"https://storage.googleapis.com:443/kaggle-data-sets/7/8/bundle/archive.zip?{SIGNED_QUERY}"
        return check_token(request) or Reply(302, {"Location": location})

    hosts.add("api.kaggle.com", f"{service}/GetDataset", metadata, "POST")
    hosts.add("api.kaggle.com", f"{service}/DownloadDataset", signed_url, "POST")
    hosts.add("storage.googleapis.com", "/kaggle-data-sets/7/8/bundle/archive.zip", archive)


def serve_figshare(hosts: FakeHosts, files: Mapping[int, tuple[str, Resource]]) -> None:
    """Serve figshare's API: an article whose files are redirects to another host."""
    file_entries = [
        {
            "id": number,
            "name": name,
            "size": len(resource.content),
            "computed_md5": hashlib.md5(resource.content).hexdigest(),
            "download_url": f"https://ndownloader.figshare.com/files/{number}",
        }
        for number, (name, resource) in files.items()
    ]
    article = {
        "title": "DVM-CAR",
        "version": 1,
        "license": {"name": "CC BY-NC 4.0"},
        "files": file_entries,
    }
    hosts.add("api.figshare.com", "/v2/articles/19586296/versions/1", lambda _: _json(article))
    for number, (_, resource) in files.items():
        location = f"https://s3-eu-west-1.amazonaws.com/pfigshare/{number}?X-Amz-Signature=secret-signature"
        hosts.add(
            "api.figshare.com",
            f"/v2/file/download/{number}",
            lambda _, location=location: Reply(302, {"Location": location}),  # type: ignore[misc]
        )
        hosts.add("s3-eu-west-1.amazonaws.com", f"/pfigshare/{number}", resource)


def _json(body: object, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def list_source_paths(store: LocalStore, raw: RawSet) -> list[str]:
    rows = rows_from_parquet(store.get(keys.raw_index(raw.dataset, raw.fingerprint)))
    return [row.source_path for row in rows]


def dataset_with_counts(name: str, expected_in: dict[str, int] | None = None) -> DatasetConfig:
    """Return a built-in entry with the expected counts of a small archive."""
    changes = {"expected": None, "expected_in": expected_in or {}}
    return find_dataset(name).model_copy(update=changes)
