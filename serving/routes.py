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
from serving.bodies import drain, read_type
from serving.errors import Refusal
from serving.generate import Wish, make_task
from serving.loaded_model import Served
from serving.openapi import DRAWING_BODY, PICTURE_HEADERS
from serving.page_files import send_cached
from serving.queue import Job
from serving.rate_limit import client_of
from serving.schemas import describe_errors
from serving.state import House
from serving.wait import wait_for

log = logging.getLogger("icanvas.serving")

# Sides of pictures that are made.
_LEAST_SIZE, _MOST_SIZE = 32, 1024

Name = Annotated[
    str,
    InPath(
        description="Of a model.", max_length=200, openapi_examples={"a model": {"value": "shoes"}}
    ),
]


def _read_switch(value: object) -> object:
    """Take ``true`` and ``false`` alone: what else might mean one of them is a slip."""
    return {"true": True, "false": False}.get(value, "") if isinstance(value, str) else value


Switch = Annotated[bool, BeforeValidator(_read_switch)]


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


def make_router(house: House) -> APIRouter:
    """Return the routes of the API for a server."""
    digests = [hashlib.sha256(key.encode()).digest() for key in house.keys]
    header = APIKeyHeader(
        name="X-API-Key", auto_error=False, description="As the operator gave it."
    )

    async def take_token(request: Request) -> None:
        if wait := house.rate.take(client_of(request), time.monotonic()):
            raise Refusal("too_many", retry_after=wait)

    async def check_key(key: Annotated[str | None, Security(header)]) -> None:
        given = hashlib.sha256((key or "").encode()).digest()
        # All of them, so that the time tells nothing.
        if sum(hmac.compare_digest(given, digest) for digest in digests) == 0:
            raise Refusal("no_key")

    guards = [Depends(check_key)] if digests else []
    errors = ("no_key",) if digests else ()
    router = APIRouter()

    @router.get(
        "/v1/models",
        response_model=schemas.Models,
        dependencies=guards,
        responses=describe_errors(*errors),
        summary="What can be drawn with",
    )
    async def list_models() -> schemas.Models:
        """List the models by name; none where nothing is promoted yet."""
        return schemas.Models(models=[_describe(model) for model in house.shelf.models.values()])

    @router.get(
        "/v1/models/{name}/examples/{number}/{what}.png",
        response_class=PngResponse,
        dependencies=guards,
        responses=describe_errors("unknown_model", "not_found", "invalid", *errors),
        summary="An example: an outline to trace, or its picture",
    )
    async def get_example(
        request: Request,
        name: Name,
        number: Annotated[int, InPath(ge=0, description="From 0 on.")],
        what: Annotated[Literal["drawing", "picture"], InPath(description="Which of the two.")],
        version: Annotated[
            str | None,
            Query(max_length=64, description="The model's; then it may be kept for ever."),
        ] = None,
    ) -> Response:
        """Return one of a model's examples as PNG."""
        model = _find(house, name)
        if number >= len(model.examples):
            raise Refusal("not_found")
        current, example = model.promotion.export, model.examples[number]
        content = example.drawing if what == "drawing" else example.picture
        answer = send_cached(request, content, "image/png", f'"{current}-{number}-{what}"')
        if version == current:
            public = "private" if digests else "public"
            answer.headers["Cache-Control"] = f"{public}, max-age=31536000, immutable"
        return answer

    @router.post(
        "/v1/models/{name}/generate",
        response_class=PngResponse,
        dependencies=[Depends(take_token), *guards],
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
                *(("not_shown",) if house.rules.gate else ()),
                *errors,
            ),
        },
        openapi_extra={"requestBody": DRAWING_BODY},
        summary="A picture from a drawing",
    )
    async def generate(
        request: Request,
        name: Name,
        normalise: Annotated[
            Switch,
            Query(description="Find what is drawn, thin it, centre and scale it, first."),
        ] = True,
        size: Annotated[
            int | None,
            Query(
                ge=_LEAST_SIZE,
                le=_MOST_SIZE,
                description="Side of the picture in pixels; left out, the model's own.",
            ),
        ] = None,
    ) -> Response:
        """Make a picture of a drawing: a PNG, JPEG or WebP, or its strokes as JSON."""
        began = time.perf_counter()
        model = _find(house, name)
        kind = read_type(request)
        house.work.check_room()
        try:
            body = await house.bodies.read(request)
            job = house.work.submit(
                make_task(Wish(model, body, kind, normalise, size), house.rules)
            )
            del body
            picture = await wait_for(job, house.work, request, house.settings.timeout)
        except ClientDisconnect:
            house.metrics.requests.labels(model.name, "gone").inc()
            return Response(status_code=499)
        except Refusal:
            raise
        except Exception:
            # Answered here: what leaves the application costs the client its connection.
            log.exception("request %s failed", request.state.request_id)
            raise Refusal("failed") from None
        job.stages["all"] = time.perf_counter() - began
        _note(house, model, job)
        return PngResponse(
            picture,
            headers={
                "X-Model-Name": model.name,
                "X-Model-Version": model.promotion.export,
                "Server-Timing": ", ".join(
                    f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in job.stages.items()
                ),
            },
        )

    @router.get("/healthz", response_model=schemas.Health, summary="Whether the process answers")
    async def check_health() -> schemas.Health:
        """Answer as long as the process does."""
        return schemas.Health()

    @router.get(
        "/readyz",
        response_model=schemas.Readiness,
        responses={503: {"model": schemas.Readiness, "description": "No model is served."}},
        summary="Whether pictures can be made",
    )
    async def check_ready(response: Response) -> schemas.Readiness:
        """Tell what is served and what is not; 503 while nothing is."""
        shelf = house.shelf
        found = schemas.Readiness(
            ready=bool(shelf.models),
            engine=house.engine.title,
            models={name: model.promotion.export for name, model in shelf.models.items()},
            refused={
                name: schemas.Refusal(version=refused.promotion.export, why=refused.why)
                for name, refused in shelf.refused.items()
            },
            store=shelf.trouble or ("ok" if shelf.looked else "not read yet"),
        )
        if not found.ready:
            response.status_code = 503
        return found

    return router


def _find(house: House, name: str) -> Served:
    models = house.shelf.models
    if not models:
        raise Refusal("no_model", retry_after=max(1, round(house.settings.poll)))
    if name not in models:
        raise Refusal("unknown_model")
    return models[name]


def _describe(model: Served) -> schemas.Model:
    promotion = model.promotion
    return schemas.Model(
        name=model.name,
        title=promotion.title,
        version=promotion.export,
        run=promotion.run,
        epoch=promotion.epoch,
        image_size=model.card.image_size,
        promoted_at=promotion.at,
        examples=len(model.examples),
    )


def _note(house: House, model: Served, job: Job) -> None:
    for stage, seconds in job.stages.items():
        house.metrics.seconds.labels(stage).observe(seconds)
    house.metrics.requests.labels(model.name, "ok").inc()


async def refuse(request: Request, refusal: Refusal, house: House) -> dict[str, Any]:
    """Return the parts of an answer to a request that gets nothing else, and count it."""
    name = request.path_params.get("name", "")
    known = name if name in house.shelf.models else ""
    if request.url.path.endswith("/generate"):
        house.metrics.requests.labels(known, refusal.code).inc()
    await drain(request)
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    content = {"error": refusal.code, "message": refusal.message}
    return {"content": content, "status_code": refusal.kind.status, "headers": headers}
