"""Routes of the API."""

import hashlib
import hmac
import logging
import time
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response, Security
from fastapi import Path as InPath
from fastapi.security import APIKeyHeader
from pydantic import BeforeValidator
from starlette.requests import ClientDisconnect, Request

from serving import schemas
from serving.bodies import drain_body, read_content_type
from serving.errors import ApiError
from serving.generate import GenerateRequest, run_request
from serving.loaded_model import LoadedModel
from serving.openapi import DRAWING_BODY, PICTURE_HEADERS
from serving.page_files import respond_with_etag
from serving.queue import QueuedRequest, wait_for_result
from serving.rate_limit import get_client_key
from serving.schemas import describe_errors
from serving.state import AppState

log = logging.getLogger("icanvas.serving")

# Sides of pictures that clients may request, in pixels.
_MIN_SIZE, _MAX_SIZE = 32, 1024

ModelName = Annotated[
    str,
    InPath(
        description="Name of the model.",
        max_length=200,
        openapi_examples={"a model": {"value": "shoes"}},
    ),
]


def _parse_bool(value: object) -> object:
    """Accept only ``true`` and ``false``; pydantic would also accept ``1``, ``yes``, ``on``…."""
    return {"true": True, "false": False}.get(value, "") if isinstance(value, str) else value


QueryBool = Annotated[bool, BeforeValidator(_parse_bool)]


class PngResponse(Response):
    """A PNG file."""

    media_type = "image/png"


def create_router(state: AppState) -> APIRouter:
    """Return the routes of the API.

    Parameters
    ----------
    state : AppState
        Components of the server.
    """
    digests = [hashlib.sha256(key.encode()).digest() for key in state.api_keys]
    api_key_header = APIKeyHeader(
        name="X-API-Key", auto_error=False, description="The key that the operator gave you."
    )

    async def check_rate_limit(request: Request) -> None:
        if wait := state.rate_limiter.acquire(get_client_key(request), time.monotonic()):
            raise ApiError("too_many", retry_after=wait)

    async def check_key(key: Annotated[str | None, Security(api_key_header)]) -> None:
        key_digest = hashlib.sha256((key or "").encode()).digest()
        # Compare with all keys, so that the duration does not reveal which one matched.
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
        summary="List the models",
    )
    async def list_models() -> schemas.ModelList:
        """List the loaded models by name; an empty list if nothing is promoted yet."""
        return schemas.ModelList(
            models=[_to_model_info(model) for model in state.model_manager.models.values()]
        )

    @router.get(
        "/v1/models/{name}/examples/{number}/{what}.png",
        response_class=PngResponse,
        dependencies=key_dependencies,
        responses=describe_errors("unknown_model", "not_found", "invalid", *key_errors),
        summary="Get an example: an outline to trace, or its picture",
    )
    async def get_example(
        request: Request,
        name: ModelName,
        number: Annotated[int, InPath(ge=0, description="Index of the example, from 0.")],
        what: Annotated[
            Literal["drawing", "picture"], InPath(description="The outline or its picture.")
        ],
        version: Annotated[
            str | None,
            Query(
                max_length=64,
                description="The model's current version; the response may then be cached "
                "indefinitely.",
            ),
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
        summary="Generate a picture from a drawing",
    )
    async def generate(
        request: Request,
        name: ModelName,
        normalize: Annotated[
            QueryBool,
            # The API keeps its spelling.
            Query(
                alias="normalise",
                description="Extract, thin, center and scale the lines first.",
            ),
        ] = True,
        size: Annotated[
            int | None,
            Query(
                ge=_MIN_SIZE,
                le=_MAX_SIZE,
                description="Side of the picture in pixels; by default the model's own.",
            ),
        ] = None,
    ) -> Response:
        """Generate a picture from a drawing: a PNG, JPEG or WebP file, or strokes as JSON."""
        start = time.perf_counter()
        model = _get_model(state, name)
        content_type = read_content_type(request)
        state.queue.check_capacity()
        try:
            body = await state.body_reader.read(request)
            queued = state.queue.submit(
                partial(
                    run_request,
                    GenerateRequest(model, body, content_type, normalize, size),
                    state.generate_options,
                )
            )
            del body
            picture = await wait_for_result(queued, state.queue, request, state.settings.timeout)
        except ClientDisconnect:
            state.metrics.requests.labels(model.name, "disconnected").inc()
            return Response(status_code=499)
        except ApiError:
            raise
        except Exception:
            # Handled here: an error that leaves the application closes the client's connection.
            log.exception("Request %s failed", request.state.request_id)
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

    @router.get(
        "/healthz", response_model=schemas.HealthResponse, summary="Check that the process responds"
    )
    async def check_health() -> schemas.HealthResponse:
        """Respond with 200 as long as the process runs."""
        return schemas.HealthResponse()

    @router.get(
        "/readyz",
        response_model=schemas.ReadinessResponse,
        responses={503: {"model": schemas.ReadinessResponse, "description": "No model is loaded."}},
        summary="Check that a model is loaded",
    )
    async def check_readiness(response: Response) -> schemas.ReadinessResponse:
        """Return the loaded and the rejected models; 503 while no model is loaded."""
        manager = state.model_manager
        readiness = schemas.ReadinessResponse(
            ready=bool(manager.models),
            engine=state.engine.description,
            models={name: model.promotion.export for name, model in manager.models.items()},
            refused={
                name: schemas.RejectedPromotion(
                    version=rejected.promotion.export, why=rejected.reason
                )
                for name, rejected in manager.rejected.items()
            },
            store=manager.last_error or ("ok" if manager.has_polled else "not read yet"),
        )
        if not readiness.ready:
            response.status_code = 503
        return readiness

    return router


def _get_model(state: AppState, name: str) -> LoadedModel:
    models = state.model_manager.models
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


async def build_error_response(
    request: Request, error: ApiError, state: AppState
) -> dict[str, Any]:
    """Count an error, drain the request's body, and build the response.

    Parameters
    ----------
    request : Request
        The failed request.
    error : ApiError
        What it is answered with.
    state : AppState
        Components of the server.

    Returns
    -------
    dict
        ``content``, ``status_code`` and ``headers``: arguments of a ``JSONResponse``.
    """
    name = request.path_params.get("name", "")
    model_name = name if name in state.model_manager.models else ""
    if request.url.path.endswith("/generate"):
        state.metrics.requests.labels(model_name, error.code).inc()
    await drain_body(request)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    content = {"error": error.code, "message": error.message}
    return {"content": content, "status_code": error.spec.status, "headers": headers}
