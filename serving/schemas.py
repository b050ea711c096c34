"""What the server answers in JSON, for its description in OpenAPI."""

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
    """Why there is no other answer."""

    error: ErrorCode = Field(examples=["empty"])
    message: str = Field(
        description="One sentence for a person: what to do.", examples=[ERRORS["empty"].message]
    )


class ModelInfo(BaseModel):
    """A generator that can be drawn with."""

    name: str = Field(description="Its name in addresses.", examples=["shoes"])
    title: str = Field(description="Its name for people.", examples=["Shoes"])
    version: str = Field(
        description="Another one after every promotion.", examples=["0123456789abcdef"]
    )
    run: str = Field(description="Training run that it is of.", examples=["0123456789ab"])
    epoch: int = Field(description="Epoch of the run.", examples=[40])
    image_size: int = Field(description="Side of its pictures in pixels.", examples=[256])
    promoted_at: datetime
    examples: int = Field(description="Drawings of it to trace, from 0 on.", examples=[6])


class ModelList(BaseModel):
    """All that can be drawn with."""

    models: list[ModelInfo]


class HealthResponse(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class RejectedPromotion(BaseModel):
    """A promotion that failed its check."""

    version: str
    why: str


class ReadinessResponse(BaseModel):
    """Whether pictures can be made."""

    ready: bool
    engine: str
    models: dict[str, str] = Field(description="What is served: names and versions.")
    refused: dict[str, RejectedPromotion] = Field(
        description="Promotions that failed their check; what was served before still is."
    )
    store: str = Field(description="`ok`, `not read yet`, or why it could not be read.")


_ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}


def describe_errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the errors that an address may answer with, for its description."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        spec = ERRORS[code]
        # Not as ``model``, which FastAPI describes in the content type of the good answer.
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
