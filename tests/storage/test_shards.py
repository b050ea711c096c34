import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.shards import ShardWriter


@given(st.lists(st.binary(max_size=3000), max_size=12))
@settings(max_examples=50, deadline=None)
def test_members_are_found_by_offset_and_size(members: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.tar"
        with path.open("wb") as file, ShardWriter(file) as shard:
            offsets = [shard.add(f"{i:08d}.png", data) for i, data in enumerate(members)]
            assert shard.num_members == len(members)
        content = path.read_bytes()
        for offset, data in zip(offsets, members, strict=True):
            assert content[offset : offset + len(data)] == data
        with tarfile.open(path) as tar:
            for member, data in zip(tar.getmembers(), members, strict=True):
                stream = tar.extractfile(member)
                assert stream is not None
                assert stream.read() == data


def test_equal_members_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        with (tmp_path / name).open("wb") as file, ShardWriter(file) as shard:
            shard.add("a.png", b"abc")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
