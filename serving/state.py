"""The server's components, and their start and stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.bodies import BodyReader
from serving.drawing_archive import DrawingArchive
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

# Bodies read at once: this many times the queue size in all, and the queue size for one client.
_BODIES_PER_QUEUE_SLOT = 4


@dataclass(frozen=True)
class AppState:
    """The components of one server.

    Attributes
    ----------
    settings : ServeSettings
        Settings of the server.
    engine : GeneratorEngine
        Runs the generators.
    model_manager : ModelManager
        The loaded models.
    queue : RequestQueue
        Waiting requests, and the worker threads.
    generate_options : GenerateOptions
        Options of all generate requests.
    body_reader : BodyReader
        Reads request bodies.
    rate_limiter : RateLimiter
        Limits each client's requests.
    api_keys : tuple of str
        Accepted API keys; empty if none is required.
    metrics : ServerMetrics
        Prometheus metrics.
    page_files : dict
        Files of the drawing page by name.
    """

    settings: ServeSettings
    engine: GeneratorEngine
    model_manager: ModelManager
    queue: RequestQueue
    generate_options: GenerateOptions
    body_reader: BodyReader
    rate_limiter: RateLimiter
    api_keys: tuple[str, ...]
    metrics: ServerMetrics
    page_files: dict[str, PageFile]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Poll the store within the block; finish the accepted requests at its end."""
        self.model_manager.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.queue.close(self.settings.shutdown_timeout)
        self.model_manager.close()
        if self.generate_options.archive is not None:
            self.generate_options.archive.close(self.settings.shutdown_timeout)


def build_engine(settings: ServeSettings, cores: int, metrics: ServerMetrics) -> GeneratorEngine:
    """Return the engine that the settings name.

    Parameters
    ----------
    settings : ServeSettings
        ``engine``, ``precision``, ``workers`` and ``max_batch_size`` are used.
    cores : int
        CPU cores that the engine may use.
    metrics : ServerMetrics
        Records the batch sizes.

    Raises
    ------
    InputError
        If the engine is not installed.
    """
    allow_bf16 = settings.precision == "auto"
    return create_engine(
        settings.engine,
        GeneratorEngineOptions(
            cores, settings.workers, settings.max_batch_size, allow_bf16, metrics.batch_size.observe
        ),
    )


def build_state(
    settings: ServeSettings, store: ObjectStore, engine: GeneratorEngine, metrics: ServerMetrics
) -> AppState:
    """Build the components of a server. Nothing is read from the store yet.

    Parameters
    ----------
    settings : ServeSettings
        Settings of the server.
    store : ObjectStore
        Holds the promotions.
    engine : GeneratorEngine
        Runs the generators.
    metrics : ServerMetrics
        Prometheus metrics.

    Raises
    ------
    InputError
        If the safety filter is not installed, or an API key is invalid.
    """
    api_keys = read_api_keys(settings)
    safety_filter = load_safety_filter() if settings.safety else None
    return AppState(
        settings=settings,
        engine=engine,
        model_manager=ModelManager(store, engine, settings.poll_interval, metrics),
        queue=RequestQueue(engine.workers, settings.queue_size, metrics),
        generate_options=GenerateOptions(
            max_pixels=settings.max_pixels,
            safety_filter=safety_filter,
            safety_threshold=settings.safety_threshold,
            archive=DrawingArchive(store) if settings.archive_drawings else None,
        ),
        body_reader=BodyReader(
            settings.max_bytes,
            settings.body_timeout,
            _BODIES_PER_QUEUE_SLOT * settings.queue_size,
            settings.queue_size,
        ),
        rate_limiter=RateLimiter(settings.rate, settings.burst),
        api_keys=api_keys,
        metrics=metrics,
        page_files=load_page_files(),
    )
