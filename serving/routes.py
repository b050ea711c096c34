"""The addresses of the API."""

import hashlib
import hmac
import logging
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response, Security
from fastapi import Path as InPath
from fastapi.security import APIKeyHeader
from pydantic import BeforeValidator
from starlette.requests import ClientDisconnect, Request

from serving import schemas
from serving.bodies import drain_body, read_content_type
from serving.errors import ApiError
from serving.generate import GenerateRequest, make_task
from serving.loaded_model import LoadedModel
from serving.openapi import DRAWING_BODY, PICTURE_HEADERS
from serving.page_files import respond_with_etag
from serving.queue import QueuedRequest, wait_for_result
from serving.rate_limit import get_client_key
from serving.schemas import describe_errors
from serving.state import AppState

log = logging.getLogger("icanvas.serving")

# Sides of pictures that are made.
_MIN_SIZE, _MAX_SIZE = 32, 1024

ModelName = Annotated[
    str,
    InPath(
        description="Of a model.", max_length=200, openapi_examples={"a model": {"value": "shoes"}}
    ),
]


def _parse_bool(value: object) -> object:
    """Take ``true`` and ``false`` alone: what else might mean one of them is a slip."""
    return {"true": True, "false": False}.get(value, "") if isinstance(value, str) else value


QueryBool = Annotated[bool, BeforeValidator(_parse_bool)]


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


def create_router(state: AppState) -> APIRouter:
    """Return the routes of the API for a server."""
    digests = [hashlib.sha256(key.encode()).digest() for key in state.api_keys]
    api_key_header = APIKeyHeader(
        name="X-API-Key", auto_error=False, description="As the operator gave it."
    )

    async def check_rate_limit(request: Request) -> None:
        if wait := state.rate_limiter.acquire(get_client_key(request), time.monotonic()):
            raise ApiError("too_many", retry_after=wait)

    async def check_key(key: Annotated[str | None, Security(api_key_header)]) -> None:
        key_digest = hashlib.sha256((key or "").encode()).digest()
        # All of them, so that the time tells nothing.
        if sum(hmac.compare_digest(key_digest, digest) for digest in digests) == 0:
            raise ApiError("no_key")

    key_dependencies = [Depends(check_key)] if digests else []
    key_errors = ("no_key",) if digests else ()
    router = APIRouter()

    @router.get(
        "/v1/models",
        response_model=schemas.ModelList,
        dependencies=key_dependencies,
        responses=describe_errors(*key_errors),
        summary="What can be drawn with",
    )
    async def list_models() -> schemas.ModelList:
        """List the models by name; none where nothing is promoted yet."""
        return schemas.ModelList(models=[_to_model_info(model) for model in state.models.models.values()])

    @router.get(
        "/v1/models/{name}/examples/{number}/{what}.png",
        response_class=PngResponse,
        dependencies=key_dependencies,
        responses=describe_errors("unknown_model", "not_found", "invalid", *key_errors),
        summary="An example: an outline to trace, or its picture",
    )
    async def get_example(
        request: Request,
        name: ModelName,
        number: Annotated[int, InPath(ge=0, description="From 0 on.")],
        what: Annotated[Literal["drawing", "picture"], InPath(description="Which of the two.")],
        version: Annotated[
            str | None,
            Query(max_length=64, description="The model's; then it may be kept for ever."),
        ] = None,
    ) -> Response:
        """Return one of a model's examples as PNG."""
        model = _get_model(state, name)
        if number >= len(model.examples):
            raise ApiError("not_found")
        current, example = model.promotion.export, model.examples[number]
        content = example.drawing if what == "drawing" else example.picture
        response = respond_with_etag(request, content, "image/png", f'"{current}-{number}-{what}"')
        if version == current:
            visibility = "private" if digests else "public"
            response.headers["Cache-Control"] = f"{visibility}, max-age=31536000, immutable"
        return response

    @router.post(
        "/v1/models/{name}/generate",
        response_class=PngResponse,
        dependencies=[Depends(check_rate_limit), *key_dependencies],
        responses={
            200: {"description": "The picture.", "headers": PICTURE_HEADERS},
            **describe_errors(
                "invalid",
                "unreadable",
                "empty",
                "unknown_model",
                "slow",
                "too_large",
                "wrong_type",
                "too_many",
                "failed",
                "busy",
                "no_model",
                *(("not_shown",) if state.generate_options.safety_filter else ()),
                *key_errors,
            ),
        },
        openapi_extra={"requestBody": DRAWING_BODY},
        summary="A picture from a drawing",
    )
    async def generate(
        request: Request,
        name: ModelName,
        normalize: Annotated[
            QueryBool,
            Query(description="Find what is drawn, thin it, centre and scale it, first."),
        ] = True,
        size: Annotated[
            int | None,
            Query(
                ge=_MIN_SIZE,
                le=_MAX_SIZE,
                description="Side of the picture in pixels; left out, the model's own.",
            ),
        ] = None,
    ) -> Response:
        """Make a picture of a drawing: a PNG, JPEG or WebP, or its strokes as JSON."""
        start = time.perf_counter()
        model = _get_model(state, name)
        content_type = read_content_type(request)
        state.queue.check_capacity()
        try:
            body = await state.body_reader.read(request)
            queued = state.queue.submit(
                make_task(GenerateRequest(model, body, content_type, normalize, size), state.generate_options)
            )
            del body
            picture = await wait_for_result(queued, state.queue, request, state.settings.timeout)
        except ClientDisconnect:
            state.metrics.requests.labels(model.name, "gone").inc()
            return Response(status_code=499)
        except ApiError:
            raise
        except Exception:
            # Answered here: what leaves the application costs the client its connection.
            log.exception("request %s failed", request.state.request_id)
            raise ApiError("failed") from None
        queued.stages["all"] = time.perf_counter() - start
        _record_success(state, model, queued)
        return PngResponse(
            picture,
            headers={
                "X-Model-Name": model.name,
                "X-Model-Version": model.promotion.export,
                "Server-Timing": ", ".join(
                    f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in queued.stages.items()
                ),
            },
        )

    @router.get("/healthz", response_model=schemas.HealthResponse, summary="Whether the process answers")
    async def check_health() -> schemas.HealthResponse:
        """Answer as long as the process does."""
        return schemas.HealthResponse()

    @router.get(
        "/readyz",
        response_model=schemas.ReadinessResponse,
        responses={503: {"model": schemas.ReadinessResponse, "description": "No model is served."}},
        summary="Whether pictures can be made",
    )
    async def check_readiness(response: Response) -> schemas.ReadinessResponse:
        """Tell what is served and what is not; 503 while nothing is."""
        shelf = state.models
        readiness = schemas.ReadinessResponse(
            ready=bool(shelf.models),
            engine=state.engine.description,
            models={name: model.promotion.export for name, model in shelf.models.items()},
            refused={
                name: schemas.RejectedPromotion(version=refused.promotion.export, why=refused.reason)
                for name, refused in shelf.rejected.items()
            },
            store=shelf.last_error or ("ok" if shelf.has_polled else "not read yet"),
        )
        if not readiness.ready:
            response.status_code = 503
        return readiness

    return router


def _get_model(state: AppState, name: str) -> LoadedModel:
    models = state.models.models
    if not models:
        raise ApiError("no_model", retry_after=max(1, round(state.settings.poll_interval)))
    if name not in models:
        raise ApiError("unknown_model")
    return models[name]


def _to_model_info(model: LoadedModel) -> schemas.ModelInfo:
    promotion = model.promotion
    return schemas.ModelInfo(
        name=model.name,
        title=promotion.title,
        version=promotion.export,
        run=promotion.run,
        epoch=promotion.epoch,
        image_size=model.card.image_size,
        promoted_at=promotion.at,
        examples=len(model.examples),
    )


def _record_success(state: AppState, model: LoadedModel, queued: QueuedRequest) -> None:
    for stage, seconds in queued.stages.items():
        state.metrics.stage_duration.labels(stage).observe(seconds)
    state.metrics.requests.labels(model.name, "ok").inc()


async def build_error_response(request: Request, error: ApiError, state: AppState) -> dict[str, Any]:
    """Return the parts of an answer to a request that gets nothing else, and count it."""
    name = request.path_params.get("name", "")
    model_name = name if name in state.models.models else ""
    if request.url.path.endswith("/generate"):
        state.metrics.requests.labels(model_name, error.code).inc()
    await drain_body(request)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    content = {"error": error.code, "message": error.message}
    return {"content": content, "status_code": error.spec.status, "headers": headers}
