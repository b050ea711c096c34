"""The ASGI application: API routes, page, error handlers and headers."""

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

from serving.errors import ApiError
from serving.middleware import ResponseHeadersMiddleware
from serving.openapi import PICTURE_HEADERS, build_openapi
from serving.page_files import respond_with_etag
from serving.routes import build_error_response, create_router
from serving.settings import split_list
from serving.state import AppState

log = logging.getLogger("icanvas.serving")

# Error codes for the framework's own errors.
_CODE_BY_STATUS = {404: "not_found", 405: "not_allowed"}


def create_app(state: AppState) -> ASGIApp:
    """Return the application.

    Parameters
    ----------
    state : AppState
        Components of the server.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with state.lifespan():
            yield

    app = FastAPI(
        title="icanvas",
        version=version("icanvas"),
        description="Turns a sketch into a picture. Errors are JSON with a code and a message.",
        lifespan=lifespan,
        # These pages load scripts from other origins.
        docs_url=None,
        # Redirects would use the client's Host header.
        redirect_slashes=False,
        redoc_url=None,
    )
    app.include_router(create_router(state))
    _add_page_routes(app, state)
    _add_error_handlers(app, state)
    origins = split_list(state.settings.cors_origins)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key"],
            expose_headers=[*PICTURE_HEADERS, "Retry-After"],
        )
    app.openapi = lambda: build_openapi(app)  # type: ignore[method-assign]
    # Outermost, so that responses of the framework's error handlers have the headers, too.
    return ResponseHeadersMiddleware(app, cross_origin=bool(origins))


def _add_page_routes(app: FastAPI, state: AppState) -> None:
    """Add the drawing page and ``/metrics``, which are not part of the API's description."""

    def send(request: Request, name: str) -> Response:
        file = state.page_files.get(name)
        if file is None:
            raise ApiError("not_found")
        return respond_with_etag(request, file.content, file.media_type, file.etag)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_page(request: Request) -> Response:
        return send(request, "index.html")

    @app.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_file(request: Request, name: str) -> Response:
        return send(request, name)

    if state.settings.metrics:

        @app.get("/metrics", include_in_schema=False)
        def get_metrics() -> Response:
            return Response(state.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _add_error_handlers(app: FastAPI, state: AppState) -> None:
    """Answer all errors with the same JSON format."""

    async def respond(request: Request, error: ApiError, **headers: str) -> Response:
        parts = await build_error_response(request, error, state)
        parts["headers"] |= headers
        return JSONResponse(**parts)

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        headers = {"WWW-Authenticate": "ApiKey"} if error.code == "no_key" else {}
        return await respond(request, error, **headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"][1:])
        return await respond(request, ApiError("invalid", f"{location}: {first['msg']}."))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODE_BY_STATUS.get(error.status_code, "invalid")
        return await respond(request, ApiError(code), **dict(error.headers or {}))

    async def on_unexpected_error(request: Request, error: Exception) -> Response:
        log.error("Request %s failed", request.state.request_id, exc_info=error)
        return await respond(request, ApiError("failed"))

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unexpected_error)
