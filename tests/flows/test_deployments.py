import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("prefect_api")
def test_everything_deploys_without_a_question() -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    def prefect(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()},
            cwd=ROOT,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )

    for pool in ("extract", "gpu"):
        prefect("work-pool", "create", pool, "--type", "process")
    prefect("deploy", "--all", "--no-prompt")
    with get_client(sync_client=True) as client:
        deployments = {found.name: found for found in client.read_deployments()}
    assert set(deployments) == {"prepare", "train", "calibrate"}
    form = deployments["prepare"].parameter_openapi_schema
    assert form is not None
    assert form["required"] == ["source"]
    assert "refresh" in form["properties"]
    assert all(found.description for found in deployments.values())
