"""The application: routes, errors, headers."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from serving.errors import Refusal
from serving.middleware import Headers
from serving.openapi import PICTURE_HEADERS, describe
from serving.page_files import send_cached
from serving.routes import make_router, refuse
from serving.settings import split_list
from serving.state import House

log = logging.getLogger("icanvas.serving")

# The codes of what the framework itself refuses.
_CODES = {404: "not_found", 405: "not_allowed"}


def make_app(house: House) -> ASGIApp:
    """Return the server's application."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with house.open():
            yield

    app = FastAPI(
        title="icanvas",
        version=version("icanvas"),
        description="From a sketch to a picture. Errors are JSON with a code and a sentence.",
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        # They would lead where the client's Host header says.
        redirect_slashes=False,
        redoc_url=None,
    )
    app.include_router(make_router(house))
    _add_files(app, house)
    _add_errors(app, house)
    origins = split_list(house.settings.origins)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key"],
            expose_headers=[*PICTURE_HEADERS, "Retry-After"],
        )
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    # Around the framework's own handling of errors, too.
    return Headers(app, shared=bool(origins))


def _add_files(app: FastAPI, house: House) -> None:
    """Add what is no part of the API: the page, and figures."""

    def send(request: Request, name: str) -> Response:
        file = house.page.get(name)
        if file is None:
            raise Refusal("not_found")
        return send_cached(request, file.content, file.media_type, file.etag)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_page(request: Request) -> Response:
        return send(request, "index.html")

    @app.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_file(request: Request, name: str) -> Response:
        return send(request, name)

    if house.settings.metrics:

        @app.get("/metrics", include_in_schema=False)
        def get_metrics() -> Response:
            return Response(house.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI, house: House) -> None:
    """Answer every error in one form."""

    async def answer(request: Request, refusal: Refusal, **headers: str) -> Response:
        parts = await refuse(request, refusal, house)
        parts["headers"] |= headers
        return JSONResponse(**parts)

    async def on_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        more = {"WWW-Authenticate": "ApiKey"} if error.code == "no_key" else {}
        return await answer(request, error, **more)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return await answer(request, Refusal("invalid", f"{place}: {first['msg']}."))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "invalid")
        return await answer(request, Refusal(code), **dict(error.headers or {}))

    async def on_failure(request: Request, error: Exception) -> Response:
        log.error("request %s failed", request.state.request_id, exc_info=error)
        return await answer(request, Refusal("failed"))

    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_failure)
