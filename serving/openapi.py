"""OpenAPI parts that FastAPI does not derive from the routes: request body, headers, schemas."""

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
        content_type: {"schema": {"$ref": _REF.format(model="Strokes")}}
        if content_type == STROKES_TYPE
        else {"schema": {"type": "string", "format": "binary"}}
        for content_type in CONTENT_TYPES
    },
}

PICTURE_HEADERS: dict[str, Any] = {
    "X-Model-Name": {"description": "Name of the model.", "schema": _STRING},
    "X-Model-Version": {"description": "Version of the model.", "schema": _STRING},
    "X-Request-Id": {"description": "ID of the request in the server's log.", "schema": _STRING},
    "Server-Timing": {
        "description": "Milliseconds of the stages queue, prepare, network, check, encode and all.",
        "schema": _STRING,
    },
}


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application, built at the first call.

    Parameters
    ----------
    app : FastAPI
        The application with its routes.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        for model in (Strokes, ErrorResponse):
            schema = model.model_json_schema(ref_template=_REF)
            schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
        # FastAPI's own error schemas are not used.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema
