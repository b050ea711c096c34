"""``icanvas serve``."""

import logging
from typing import Annotated

import typer

from cli.console import console, err_console, print_locations
from cli.options import Store
from config.settings import get_settings, override_settings, get_usable_cores


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            help="Where to listen: 127.0.0.1 by default; 0.0.0.0 for everyone, behind a proxy that "
            "brings TLS.",
            metavar="ADDRESS",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="8080 by default; 0 for a free one.", min=0, max=65535)
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="What runs the generators: openvino, onnxruntime, torch or auto (default).",
            metavar="NAME",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Drawings at once; one a core by default.", min=1)
    ] = None,
    queue: Annotated[
        int | None, typer.Option(help="Drawings that wait at most; 16 by default.", min=1)
    ] = None,
    safety: Annotated[
        bool | None, typer.Option("--safety", help="Keep back what is not for children.")
    ] = None,
    allow_root: Annotated[
        bool | None, typer.Option("--allow-root", help="Run as root all the same.")
    ] = None,
    store: Store = None,
) -> None:
    """Serve every promoted generator, with the drawing page; Ctrl-C or SIGTERM ends it."""
    from serving.settings import get_serve_settings, override_serve_settings, read_api_keys
    from serving.startup import check_not_root, open_socket

    override_settings(store=store)
    override_serve_settings(
        host=host,
        port=port,
        engine=engine,
        workers=workers,
        queue=queue,
        safety=safety,
        allow_root=allow_root,
    )
    settings = get_serve_settings()
    # A slip is met before the seconds that the networks' libraries take to import.
    check_not_root(settings)
    read_api_keys(settings)
    listener = open_socket(settings.host, settings.port)
    from serving.engines import choose_engine
    from serving.metrics import ServerMetrics
    from serving.server import run_server
    from serving.state import build_state, build_engine
    from storage import open_store

    object_store = open_store(get_settings().store)
    _, reason = choose_engine(settings.engine)
    metrics = ServerMetrics()
    runner = build_engine(settings, get_usable_cores(), metrics)
    state = build_state(settings, object_store, runner, metrics)
    # One line each, for a terminal and a service manager alike.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("icanvas").setLevel(logging.INFO)

    def print_addresses() -> None:
        bound_host, port = listener.getsockname()[:2]
        address = (
            f"http://[{bound_host}]:{port}" if ":" in bound_host else f"http://{bound_host}:{port}"
        )
        console.print(
            "[bold]icanvas serves[/]; Ctrl-C stops it. Models are told as they are loaded.\n"
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
    err_console.print("All that was accepted is answered.")
