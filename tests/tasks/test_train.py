import base64
import re

import numpy as np

from model import TrainedRun
from postprocess import encode_jpeg
from storage import LocalStore
from storage.registry import Run
from tasks.train import describe


def grid(level: int) -> bytes:
    return encode_jpeg(np.full((8, 8, 3), level, np.uint8), quality=92)


def test_an_artifact_shows_grids_and_plot(store: LocalStore) -> None:
    run = Run(store, "tiny", "run")
    files = {
        "samples/epoch-0002.jpg": grid(10),
        "samples/sketches-0002.jpg": grid(90),
        "losses.png": b"a plot",
    }
    for name, data in files.items():
        run.put(name, data)
    places = dict.fromkeys(["checkpoint", "samples", "metrics_file", "plot", "events"], "here")
    facts = {"dataset": "tiny", "run": "run", "pairs": "p", "left_out": 0, "epochs": 2, "steps": 4}
    for sketches, shown in ((None, ["samples/epoch-0002.jpg"]), ("there", list(files)[:2])):
        trained = TrainedRun(**facts, metrics={"l1": 0.25}, **places, sketches=sketches)  # type: ignore[arg-type]
        text = describe(trained, run)
        assert "| l1 | 0.2500 |" in text
        images = re.findall(r"!\[[^]]*\]\(data:image/\w+;base64,([^)]*)\)", text)
        expected = [files[name] for name in (*shown, "losses.png")]
        assert [base64.b64decode(image) for image in images] == expected
