"""Setup of a Prefect server: work pools, deployments, and an automation for dead workers."""

import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL

from config.errors import IcanvasError, InputError

# Folder of the packages, a checkout or site-packages. Entrypoints are relative to it.
PACKAGE_ROOT = Path(__file__).parents[1]

# The wheel installs it beside this module, not at the top of site-packages.
_BUNDLED_PREFECT_FILE = Path(__file__).parent / "prefect.yaml"
PREFECT_FILE = (
    _BUNDLED_PREFECT_FILE if _BUNDLED_PREFECT_FILE.exists() else PACKAGE_ROOT / "prefect.yaml"
)

# For CPU and GPU; prefect.yaml assigns the deployments.
WORK_POOLS = ("extract", "gpu")

_AUTOMATION_NAME = "icanvas: runs of workers that died"

# Three heartbeats of 30 s, as set in ``prefect.yaml``.
_HEARTBEAT_TIMEOUT_S = 90


def set_up_server() -> None:
    """Create or update work pools, deployments and automation on the server of ``PREFECT_API_URL``.

    Running it again only updates the deployments to ``prefect.yaml`` and the catalogue, and the
    automation.

    Raises
    ------
    InputError
        If no server is configured, or it does not answer or requires a login.
    IcanvasError
        If the server returns an error, or the deployments cannot be created. The message holds
        Prefect's last line of output.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise InputError(
            "No Prefect server is configured. Set PREFECT_API_URL, or run `icanvas up` for one."
        )
    host = httpx.URL(url).host
    try:
        with get_client(sync_client=True) as client:
            for pool in WORK_POOLS:
                _create_work_pool(client, pool)
            _create_heartbeat_automation(client)
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise IcanvasError(
                f"The Prefect server on {host} answered {error.response.status_code} "
                f"{error.response.reason_phrase}. Check its log, and run this again."
            ) from error
        raise InputError(
            f"The Prefect server on {host} requires a login. Set PREFECT_API_AUTH_STRING to "
            "USER:PASSWORD (docs/operations.md)."
        ) from error
    except httpx.TransportError as error:
        raise InputError(
            f"The Prefect server on {host} does not answer ({type(error).__name__}). Start it, or "
            "run `icanvas up` for one."
        ) from error
    _deploy(url)


def _create_work_pool(client: SyncPrefectClient, name: str) -> None:
    # An existing pool may have another type or other settings on purpose.
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _create_heartbeat_automation(client: SyncPrefectClient) -> None:
    """Mark runs without heartbeats as crashed, so that they can be retried."""
    end_states = ("Completed", "Failed", "Cancelled", "Crashed")
    automation = AutomationCore(
        name=_AUTOMATION_NAME,
        description="Marks runs crashed whose worker sends no heartbeats.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{it}" for it in end_states)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=_HEARTBEAT_TIMEOUT_S),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat from its worker for {_HEARTBEAT_TIMEOUT_S} s.",
            )
        ],
    )
    existing = client.read_automations_by_name(_AUTOMATION_NAME)
    if existing:
        client.update_automation(existing[0].id, automation)
    else:
        client.create_automation(automation)


def _deploy(url: str) -> None:
    command = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=PACKAGE_ROOT,
        env={**os.environ, "PREFECT_API_URL": url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        output_lines = (result.stderr or result.stdout).strip().splitlines() or ["no output"]
        raise IcanvasError(
            f"The deployments were not created: {output_lines[-1]} Run `{' '.join(command)}` in "
            f"{PACKAGE_ROOT} to see the whole output."
        )
