import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from config.errors import IntegrityError, SourceError
from sources.archives import Source, open_path

CONTENT = {"b/one.png": b"1" * 3000, "b/two words.png": b"2" * 5000, "a.txt": b"", "é/한.jpg": b"3"}


def ignore(_: int) -> None:
    pass


def make_folder(parent: Path) -> Path:
    folder = parent / "folder"
    for name, data in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def make_zip(parent: Path) -> Path:
    with zipfile.ZipFile(parent / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("b")
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    return parent / "x.zip"


def make_tar(parent: Path, compression: str = "gz") -> Path:
    path = parent / f"x.tar.{compression}"
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        archive.add(make_folder(parent), ".")
    return path


def make_plain_tar(parent: Path) -> Path:
    return make_tar(parent, "")


def make_bz2(parent: Path) -> Path:
    return make_tar(parent, "bz2")


def make_xz(parent: Path) -> Path:
    return make_tar(parent, "xz")


MAKERS = [make_folder, make_zip, make_tar, make_plain_tar, make_bz2, make_xz]


@pytest.mark.parametrize("make", MAKERS)
def test_every_file_is_yielded_once(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = open_path(make(tmp_path))
    files = {file.path: (file.size, file.read()) for file in source.files()}
    assert files == {name: (len(data), data) for name, data in CONTENT.items()}
    assert list(source.names()) == list(files)


@pytest.mark.parametrize("make", [make_folder, make_zip, make_tar])
def test_identity_depends_on_the_content_only(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    progress: list[int] = []
    path = make(tmp_path)
    original = open_path(path).identity(progress.append)
    assert open_path(path).identity(ignore) == original
    moved = path.rename(tmp_path / f"moved-{path.name}")
    assert open_path(moved).identity(ignore) == original
    assert sum(progress) > 0
    if moved.is_dir():
        (moved / "a.txt").write_bytes(b"x")
    else:
        moved.write_bytes(moved.read_bytes() + b"x")
    assert open_path(moved).identity(ignore) != original


def test_renamed_file_changes_the_identity(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    original = open_path(folder).identity(ignore)
    (folder / "a.txt").rename(folder / "b.txt")
    assert open_path(folder).identity(ignore) != original


def test_file_that_changes_during_reading_is_detected(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    source = open_path(folder)
    source.identity(ignore)
    (folder / "b/one.png").write_bytes(b"9" * 3000)
    with pytest.raises(IntegrityError, match=r"one\.png changed"):
        read_all(source)


def test_undecodable_names_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "new\nline.png").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"y")
    assert [file.path for file in open_path(tmp_path).files()] == ["new\nline.png", "\\xff.png"]


def test_links_and_devices_are_not_read_as_files(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.png")
    assert [file.path for file in open_path(tmp_path).files()] == ["real.png"]
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        archive.add(tmp_path / "real.png", "real.png")
        archive.add(tmp_path / "broken.png", "link.png")
        archive.add(tmp_path / "pipe.png", "pipe.png")
        archive.addfile(hard_link("again.png", "real.png"))
    source = open_path(tmp_path / "links.tar")
    assert {file.path: (file.link, file.special) for file in source.files()} == {
        "real.png": (None, None),
        "link.png": (str(tmp_path / "nothing"), None),
        "pipe.png": (None, "a FIFO"),
        "again.png": ("real.png", None),
    }
    assert list(source.names()) == ["real.png"]


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.LNKTYPE, target
    return member


def test_nested_archive_does_not_decide_the_kind(tmp_path: Path) -> None:
    make_zip(tmp_path)
    with tarfile.open(tmp_path / "outer.data", "w") as archive:
        archive.add(make_folder(tmp_path) / "b/one.png", "one.png")
        archive.add(tmp_path / "x.zip", "x.zip")
    paths = [file.path for file in open_path(tmp_path / "outer.data").files()]
    assert paths == ["one.png", "x.zip"]


def test_zip64_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    path = make_zip(tmp_path)
    assert b"PK\6\6" in path.read_bytes()
    assert {file.path: file.read() for file in open_path(path).files()} == CONTENT


def test_zip_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    (tmp_path / "x.zip").write_bytes(pipe.getvalue())
    files = open_path(tmp_path / "x.zip").files()
    assert {file.path: file.read() for file in files} == CONTENT


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_a_tar_are_read(tmp_path: Path, style: int) -> None:
    name = "한" * 200 + ".png"
    with tarfile.open(tmp_path / "x.tar", "w", format=style) as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, name
        archive.addfile(tarfile.TarInfo(name))
        archive.addfile(link)
    first, second = open_path(tmp_path / "x.tar").files()
    assert (first.path, second.path, second.link) == (name, "link.png", name)


def read_all(source: Source) -> None:
    for file in source.files():
        file.read()


@pytest.mark.parametrize("make", MAKERS[1:])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_archive_is_reported(
    tmp_path: Path, make: Callable[[Path], Path], share: float
) -> None:
    path = make(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(IntegrityError, match="truncated"):
        read_all(open_path(path))


def test_corrupt_zip_member_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"AAAA" * 100)
    path.write_bytes(path.read_bytes().replace(b"AAAA" * 100, b"AAAB" * 100))
    with pytest.raises(IntegrityError, match="CRC"):
        read_all(open_path(path))


def test_path_that_is_no_source_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="neither a folder nor"):
        open_path(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="does not exist"):
        open_path(tmp_path / "nothing")
