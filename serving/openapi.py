"""The API's description in OpenAPI, where FastAPI cannot see it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.decode import CONTENT_TYPES, STROKES_TYPE
from serving.schemas import ErrorResponse
from serving.strokes import Strokes

_REF = "#/components/schemas/{model}"

_STRING = {"type": "string"}

DRAWING_BODY: dict[str, Any] = {
    "required": True,
    "description": "The drawing: dark lines on light paper, or strokes.",
    "content": {
        kind: {"schema": {"$ref": _REF.format(model="Strokes")}}
        if kind == STROKES_TYPE
        else {"schema": {"type": "string", "format": "binary"}}
        for kind in CONTENT_TYPES
    },
}

PICTURE_HEADERS: dict[str, Any] = {
    "X-Model-Name": {"description": "Which model made it.", "schema": _STRING},
    "X-Model-Version": {"description": "Which version of it.", "schema": _STRING},
    "X-Request-Id": {"description": "Names the request in the server's log.", "schema": _STRING},
    "Server-Timing": {
        "description": "Milliseconds in the queue, for preparing, network, check and encoding.",
        "schema": _STRING,
    },
}


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Return an application's description, made once."""
    if app.openapi_schema is None:
        schema_root = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = schema_root["components"]["schemas"]
        for model in (Strokes, ErrorResponse):
            schema = model.model_json_schema(ref_template=_REF)
            schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
        # FastAPI's own form of errors is not used.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = schema_root
    return app.openapi_schema
