"""Everything that one server has, and how it begins and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.drawing_archive import DrawingArchive
from serving.bodies import BodyReader
from serving.engines import GeneratorEngine, GeneratorEngineOptions, create_engine
from serving.generate import GenerateOptions
from serving.metrics import ServerMetrics
from serving.model_manager import ModelManager
from serving.page_files import PageFile, load_page_files
from serving.queue import RequestQueue
from serving.rate_limit import RateLimiter
from serving.safety import load_safety_filter
from serving.settings import ServeSettings, read_api_keys
from storage import ObjectStore

# Bodies that arrive for every drawing that may wait; one client has no more than may wait.
_BODIES_PER_QUEUE_SLOT = 4


@dataclass(frozen=True)
class AppState:
    """One server's parts.

    Attributes
    ----------
    settings : how it works.
    engine : runs the models.
    shelf : the models.
    work : the queue, and the threads behind it.
    rules : for every drawing.
    bodies : reads requests.
    rate : of each client.
    keys : API keys; none where none is asked for.
    metrics : figures.
    page : files of the drawing page by name.
    """

    settings: ServeSettings
    engine: GeneratorEngine
    models: ModelManager
    queue: RequestQueue
    generate_options: GenerateOptions
    body_reader: BodyReader
    rate_limiter: RateLimiter
    api_keys: tuple[str, ...]
    metrics: ServerMetrics
    page_files: dict[str, PageFile]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Look at the store for the time of the block; at its end finish what was accepted."""
        self.models.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.queue.close(self.settings.shutdown_timeout)
        self.models.close()
        if self.generate_options.archive is not None:
            self.generate_options.archive.close(self.settings.shutdown_timeout)


def build_engine(settings: ServeSettings, cores: int, metrics: ServerMetrics) -> GeneratorEngine:
    """Return the engine that the settings ask for.

    Parameters
    ----------
    settings : engine, precision, workers and batch.
    cores : that it may use.
    metrics : is told of its batches.

    Raises
    ------
    InputError
        If it is not installed.
    """
    allow_bf16 = settings.precision == "auto"
    return create_engine(
        settings.engine,
        GeneratorEngineOptions(cores, settings.workers, settings.max_batch_size, allow_bf16, metrics.batch_size.observe),
    )


def build_state(
    settings: ServeSettings, store: ObjectStore, engine: GeneratorEngine, metrics: ServerMetrics
) -> AppState:
    """Return a server's parts; nothing is read from the store yet.

    Parameters
    ----------
    settings : how it works.
    store : holds what is promoted.
    engine : runs it.
    metrics : figures.

    Raises
    ------
    InputError
        If the gate is not installed, or a key does not fit.
    """
    api_keys = read_api_keys(settings)
    safety_filter = load_safety_filter() if settings.safety else None
    return AppState(
        settings=settings,
        engine=engine,
        models=ModelManager(store, engine, settings.poll_interval, metrics),
        queue=RequestQueue(engine.workers, settings.queue_size, metrics),
        generate_options=GenerateOptions(
            max_pixels=settings.max_pixels,
            safety_filter=safety_filter,
            safety_threshold=settings.safety_threshold,
            archive=DrawingArchive(store) if settings.archive_drawings else None,
        ),
        body_reader=BodyReader(
            settings.max_bytes, settings.body_timeout, _BODIES_PER_QUEUE_SLOT * settings.queue_size, settings.queue_size
        ),
        rate_limiter=RateLimiter(settings.rate, settings.burst),
        api_keys=api_keys,
        metrics=metrics,
        page_files=load_page_files(),
    )
