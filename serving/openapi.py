"""The API's description in OpenAPI, where FastAPI cannot see it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.decode import CONTENT_TYPES, STROKES
from serving.schemas import ErrorAnswer
from serving.strokes import Strokes

_REF = "#/components/schemas/{model}"

_TEXT = {"type": "string"}

DRAWING_BODY: dict[str, Any] = {
    "required": True,
    "description": "The drawing: dark lines on light paper, or strokes.",
    "content": {
        kind: {"schema": {"$ref": _REF.format(model="Strokes")}}
        if kind == STROKES
        else {"schema": {"type": "string", "format": "binary"}}
        for kind in CONTENT_TYPES
    },
}

PICTURE_HEADERS: dict[str, Any] = {
    "X-Model-Name": {"description": "Which model made it.", "schema": _TEXT},
    "X-Model-Version": {"description": "Which version of it.", "schema": _TEXT},
    "X-Request-Id": {"description": "Names the request in the server's log.", "schema": _TEXT},
    "Server-Timing": {
        "description": "Milliseconds in the queue, for preparing, network, check and encoding.",
        "schema": _TEXT,
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return an application's description, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = made["components"]["schemas"]
        for form in (Strokes, ErrorAnswer):
            schema = form.model_json_schema(ref_template=_REF)
            schemas |= {**schema.pop("$defs", {}), form.__name__: schema}
        # FastAPI's own form of errors is not used.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema
