"""What a run shows in the Prefect UI when it has ended, and how it names what lies in the store."""

from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from config.settings import get_settings
from storage import ObjectStore


def show(key: str, description: str, markdown: str) -> None:
    """Create an artifact; where the server does not take it, a line of the log says so.

    The work that it tells of is done, and no run fails for want of a page about it.
    """
    try:
        create_markdown_artifact(key=key, description=description, markdown=markdown)
    except Exception as error:
        get_run_logger().warning("%s is not shown: %s", description, error)


def link(store: ObjectStore, key: str) -> str:
    """Return where a person finds an object, in Markdown.

    It is a link where ``ICANVAS_LINKS`` tells the store's address on the web: a browser opens
    neither ``s3://`` nor a file from a page.
    """
    base = get_settings().links
    if base is None:
        return f"`{store.location(key)}`"
    return f"[{key.rpartition('/')[2]}]({base.rstrip('/')}/{quote(key)})"
