"""Everything that one server has, and how it begins and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.archive import Keeper
from serving.bodies import Bodies
from serving.engines import Engine, Options, create_engine
from serving.generate import Rules
from serving.metrics import Metrics
from serving.model_manager import Shelf
from serving.page_files import PageFile, load_page
from serving.queue import Work
from serving.rate_limit import RateLimit
from serving.safety import open_gate
from serving.settings import ServeSettings, read_keys
from storage import ObjectStore

# Bodies that arrive for every drawing that may wait; one client has no more than may wait.
_ARRIVING = 4


@dataclass(frozen=True)
class House:
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
    engine: Engine
    shelf: Shelf
    work: Work
    rules: Rules
    bodies: Bodies
    rate: RateLimit
    keys: tuple[str, ...]
    metrics: Metrics
    page: dict[str, PageFile]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Look at the store for the time of the block; at its end finish what was accepted."""
        self.shelf.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.work.close(self.settings.stop)
        self.shelf.close()
        if self.rules.keeper is not None:
            self.rules.keeper.close(self.settings.stop)


def start_engine(settings: ServeSettings, cores: int, metrics: Metrics) -> Engine:
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
    fast = settings.precision == "auto"
    return create_engine(
        settings.engine,
        Options(cores, settings.workers, settings.batch, fast, metrics.batch.observe),
    )


def build_house(
    settings: ServeSettings, store: ObjectStore, engine: Engine, metrics: Metrics
) -> House:
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
    keys = read_keys(settings)
    gate = open_gate() if settings.safety else None
    return House(
        settings=settings,
        engine=engine,
        shelf=Shelf(store, engine, settings.poll, metrics),
        work=Work(engine.workers, settings.queue, metrics),
        rules=Rules(
            max_pixels=settings.max_pixels,
            gate=gate,
            threshold=settings.safety_threshold,
            keeper=Keeper(store) if settings.keep else None,
        ),
        bodies=Bodies(
            settings.max_bytes, settings.body_timeout, _ARRIVING * settings.queue, settings.queue
        ),
        rate=RateLimit(settings.rate, settings.burst),
        keys=keys,
        metrics=metrics,
        page=load_page(),
    )
