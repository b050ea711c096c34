"""Print the memory, in MiB, that extracting all pictures of a folder as one shard takes.

    python benchmarks/memory.py FOLDER [--engine NAME]

Largest resident memory after a picture, from the 50th on, so that the temporary peak of loading
does not hide growth.
"""

import argparse
import os
import tempfile
from pathlib import Path

import tasks.extract
from config.settings import override_settings
from sources import acquire, find_dataset
from storage import LocalStore
from tasks.detector import format_weights_id, get_detector
from tasks.pair_set_plan import PairSetPlan

_FIRST = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="opencv")
    options = parser.parse_args()
    override_settings(engine=options.engine)
    pictures = sum(1 for _ in options.folder.iterdir())
    # Larger than a catalogue entry may request, to make growth visible.
    dataset = find_dataset(str(options.folder)).model_copy(update={"shard_size": pictures})
    sizes: list[int] = []
    tasks.extract.advance = lambda _: sizes.append(resident_bytes())
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        raw = acquire(dataset, store)
        hed = get_detector(dataset.edges.border)
        plan = PairSetPlan(
            dataset, raw.fingerprint, hed.weights.threshold, format_weights_id(hed.weights)
        )
        rows = tasks.extract.extract_shard(plan, 0, store)
    assert sum(row.status == "pair" for row in rows) > 0.9 * pictures, "too few pairs to tell"
    print(f"{max(sizes[_FIRST:]) / 2**20:.0f}")


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
