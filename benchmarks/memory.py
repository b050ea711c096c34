"""Print the peak memory, in MiB, of extracting all pictures of a folder as one shard.

python benchmarks/memory.py FOLDER [--engine NAME]
"""

import argparse
import resource
import tempfile
from pathlib import Path

from datasets import acquire, find
from settings import override_settings
from storage import LocalStore
from tasks.detector import detector, weights_name
from tasks.extract import extract_shard
from tasks.plan import PairPlan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="opencv")
    options = parser.parse_args()
    override_settings(engine=options.engine)
    pictures = sum(1 for _ in options.folder.iterdir())
    # Larger than a catalogue entry may ask for, to see what grows.
    dataset = find(str(options.folder)).model_copy(update={"shard_size": pictures})
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        raw = acquire(dataset, store)
        hed = detector(dataset.edges.border)
        plan = PairPlan(dataset, raw.fingerprint, hed.weights.threshold, weights_name(hed))
        rows = extract_shard(plan, 0, store)
    assert sum(row.status == "pair" for row in rows) > 0.9 * pictures, "too few pairs to tell"
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    main()
