"""Measure acquiring from a tar.gz and a zip, compared with plain reading and with unpacking.

    python benchmarks/archives.py [PICTURES] [--side PIXELS]

Creates the archives in a temporary folder: small pictures, so that the cost of a file dominates,
half of them JPEG, half PNG, all different. Every row runs in its own process. Prints Markdown;
compare rows of one run only.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROWS = {
    "acquire": "acquired into a store",
    "inspect": "read, SHA-256, decoded",
    "read": "read, SHA-256",
    "unpack": "unpacked, then read, SHA-256",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="?", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--measure", nargs=2, metavar=("ROW", "ARCHIVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        row, archive = options.measure
        measure(row, Path(archive))
        return
    with tempfile.TemporaryDirectory() as folder:
        for make in (make_tar, make_zip):
            print_table(make(Path(folder), options.pictures, options.side))


def print_table(archive: Path) -> None:
    size = archive.stat().st_size
    results = {}
    for row in ROWS:
        command = [sys.executable, __file__, "--measure", row, str(archive)]
        completed = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        results[row] = json.loads(completed.stdout)
    pictures = results["read"]["pictures"]
    assert all(facts["pictures"] == pictures for facts in results.values())
    print(f"\n{archive.name}, {pictures:,} pictures, {size / 1e6:.0f} MB\n")
    print("| | s | pictures/s | MB/s | CPU s | relative to reading | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for row, title in ROWS.items():
        seconds, cpu, peak = (results[row][key] for key in ("seconds", "cpu", "peak"))
        print(
            f"| {title} | {seconds:.1f} | {pictures / seconds:,.0f} | {size / 1e6 / seconds:.1f} | "
            f"{cpu:.1f} | {seconds / results['read']['seconds']:.2f} | {peak:.0f} |",
            flush=True,
        )


def measure(row: str, archive: Path) -> None:
    """Run one row and print time and memory as JSON; imports are not timed."""
    work = globals()[f"prepare_{row}"](archive)
    start, cpu = time.perf_counter(), time.process_time()
    pictures = work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    # getrusage would include the peak of the parent process.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"pictures": pictures, "seconds": seconds, "cpu": cpu, "peak": peak}))


def prepare_acquire(archive: Path) -> Callable[[], int]:
    from sources import acquire
    from sources.catalogue import describe_path
    from storage import LocalStore

    def work() -> int:
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            raw = acquire(describe_path(archive, "bench"), LocalStore(Path(folder)))
        assert not raw.rejected, raw.rejected
        return raw.num_files

    return work


def prepare_inspect(archive: Path) -> Callable[[], int]:
    from sources.pictures import decode_picture, hash_pixels

    def work() -> int:
        count = 0
        for name, content in read_members(archive):
            hashlib.sha256(content).hexdigest()
            hash_pixels(decode_picture(content, name, (255, 255, 255), 10**9))
            count += 1
        return count

    return work


def prepare_read(archive: Path) -> Callable[[], int]:
    return lambda: sum(
        1 for _, content in read_members(archive) if hashlib.sha256(content).hexdigest()
    )


def read_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every member, with the standard library."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                yield member.filename, file.read(member)
    else:
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                content = stream.extractfile(member)
                assert content is not None
                yield member.name, content.read()


def prepare_unpack(archive: Path) -> Callable[[], int]:
    def work() -> int:
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            if archive.suffix == ".zip":
                with zipfile.ZipFile(archive) as file:
                    file.extractall(folder)
            else:
                with tarfile.open(archive) as stream:
                    stream.extractall(folder, filter="data")
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            return sum(1 for path in files if hashlib.sha256(path.read_bytes()).hexdigest())

    return work


def make_tar(folder: Path, pictures: int, side: int) -> Path:
    path = folder / "pictures.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in make_pictures(pictures, side):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_zip(folder: Path, pictures: int, side: int) -> Path:
    path = folder / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in make_pictures(pictures, side):
            archive.writestr(name, content)
    return path


def make_pictures(count: int, side: int) -> Iterator[tuple[str, bytes]]:
    import cv2
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    scene = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    bits = np.arange(24)
    # One bit of the number a square of 8x8 pixels, which JPEG preserves.
    rows, columns = bits // 8 * 8, bits % 8 * 8
    for number in range(count):
        picture = scene.copy()
        for y, x in zip(*(axis[number >> bits & 1 == 1] for axis in (rows, columns)), strict=True):
            picture[y : y + 8, x : x + 8] = 255 - picture[y : y + 8, x : x + 8]
        suffix = (".jpg", ".png")[number % 2]
        yield (
            f"{number // 1000:03d}/{number:07d}{suffix}",
            cv2.imencode(suffix, picture)[1].tobytes(),
        )


if __name__ == "__main__":
    main()
