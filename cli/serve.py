"""``icanvas serve``."""

import logging
from typing import Annotated

import typer

from cli.console import console, err_console, print_locations
from cli.options import Store
from config.settings import get_settings, get_usable_cores, override_settings


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on, 127.0.0.1 by default; 0.0.0.0 for all interfaces, behind a "
            "proxy with TLS.",
            metavar="ADDRESS",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port, 8080 by default; 0 for a free one.", min=0, max=65535)
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Engine for the generators: openvino, onnxruntime, torch or auto (default).",
            metavar="NAME",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Drawings in progress at once; one a core by default.", min=1)
    ] = None,
    queue_size: Annotated[
        int | None, typer.Option(help="Largest number of waiting drawings; 16 by default.", min=1)
    ] = None,
    safety: Annotated[
        bool | None, typer.Option("--safety", help="Reject pictures that are not for children.")
    ] = None,
    allow_root: Annotated[
        bool | None, typer.Option("--allow-root", help="Allow root to run the server.")
    ] = None,
    store: Store = None,
) -> None:
    """Serve every promoted generator and the drawing page until Ctrl-C or SIGTERM."""
    from serving.settings import get_serve_settings, override_serve_settings, read_api_keys
    from serving.startup import check_not_root, open_socket

    override_settings(store=store)
    override_serve_settings(
        host=host,
        port=port,
        engine=engine,
        workers=workers,
        queue_size=queue_size,
        safety=safety,
        allow_root=allow_root,
    )
    settings = get_serve_settings()
    # The networks' libraries take seconds to import, so settings are checked first.
    check_not_root(settings)
    read_api_keys(settings)
    listener = open_socket(settings.host, settings.port)
    from serving.engines import choose_engine
    from serving.metrics import ServerMetrics
    from serving.server import run_server
    from serving.state import build_engine, build_state
    from storage import open_store

    object_store = open_store(get_settings().store)
    _, reason = choose_engine(settings.engine)
    metrics = ServerMetrics()
    runner = build_engine(settings, get_usable_cores(), metrics)
    state = build_state(settings, object_store, runner, metrics)
    # One line a record, for terminals and service managers.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("icanvas").setLevel(logging.INFO)

    def print_addresses() -> None:
        bound_host, port = listener.getsockname()[:2]
        address = (
            f"http://[{bound_host}]:{port}" if ":" in bound_host else f"http://{bound_host}:{port}"
        )
        console.print(
            "[bold]icanvas serve[/] is running; Ctrl-C stops it. Models are logged when loaded.\n"
        )
        print_locations(
            [
                ("drawing page", f"{address}/"),
                ("API", f"{address}/openapi.json"),
                ("store", object_store.url),
                ("engine", f"{state.engine.description} ({reason})"),
            ]
        )

    run_server(state, listener, print_addresses)
    err_console.print("The server has stopped. All accepted requests were answered.")
