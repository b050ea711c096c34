"""JSON responses of the API, and their OpenAPI description."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from serving.errors import ERRORS

ErrorCode = Literal[
    "invalid",
    "unreadable",
    "empty",
    "no_key",
    "unknown_model",
    "not_found",
    "not_allowed",
    "slow",
    "too_large",
    "wrong_type",
    "too_many",
    "not_shown",
    "failed",
    "busy",
    "no_model",
]


class ErrorResponse(BaseModel):
    """Body of every error."""

    error: ErrorCode = Field(examples=["empty"])
    message: str = Field(
        description="One sentence for the user: what to do.", examples=[ERRORS["empty"].message]
    )


class ModelInfo(BaseModel):
    """A loaded model."""

    name: str = Field(description="Name in URLs.", examples=["shoes"])
    title: str = Field(description="Display name.", examples=["Shoes"])
    version: str = Field(
        description="Changes when another checkpoint is promoted.", examples=["0123456789abcdef"]
    )
    run: str = Field(description="Training run.", examples=["0123456789ab"])
    epoch: int = Field(description="Epoch of the run.", examples=[40])
    image_size: int = Field(description="Side of the pictures in pixels.", examples=[256])
    promoted_at: datetime
    examples: int = Field(description="Number of outlines to trace.", examples=[6])


class ModelList(BaseModel):
    """All loaded models."""

    models: list[ModelInfo]


class HealthResponse(BaseModel):
    """The process responds."""

    status: Literal["ok"] = "ok"


class RejectedPromotion(BaseModel):
    """A promotion that failed its check."""

    version: str
    why: str


class ReadinessResponse(BaseModel):
    """Whether a model is loaded."""

    ready: bool
    engine: str
    models: dict[str, str] = Field(description="Loaded models: version by name.")
    refused: dict[str, RejectedPromotion] = Field(
        description="Promotions that failed their check; their predecessors stay loaded."
    )
    store: str = Field(description="`ok`, `not read yet`, or why it could not be read.")


_ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}


def describe_errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the errors of a route.

    Parameters
    ----------
    *codes : str
        Keys of ``ERRORS``.

    Returns
    -------
    dict
        FastAPI's ``responses``, by HTTP status.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        spec = ERRORS[code]
        # Not as ``model``: FastAPI would describe it with the content type of the 200 response.
        response = responses.setdefault(spec.status, {"description": "", "content": _ERROR_CONTENT})
        line = f"`{code}`: {spec.message}"
        response["description"] = f"{response['description']}\n\n{line}".strip()
        if spec.status in (429, 503):
            response["headers"] = {
                "Retry-After": {
                    "description": "Seconds to wait before another try.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
    return responses
