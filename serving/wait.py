"""One request's wait for its picture."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from serving.queue import Job, Work


async def wait_for(job: Job, work: Work, request: Request, seconds: float) -> bytes:
    """Return what comes of a job; whose client went away, or waits too long, is given up.

    Parameters
    ----------
    job, work : what was submitted where.
    request : whose body was read; nothing else may read from it meanwhile.
    seconds : to wait at most.

    Raises
    ------
    ClientDisconnect
        If the client went away.
    Refusal
        ``busy`` after the time, or what the job raised.
    """
    done = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(_leave(request))
    try:
        both: set[asyncio.Future[bytes] | asyncio.Future[None]] = {done, gone}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            return done.result()
        if gone.done():
            raise ClientDisconnect
        raise work.busy()
    finally:
        gone.cancel()
        if not done.done():
            # Before the job ends: its error would find nobody.
            done.cancel()
            work.cancel(job)


async def _leave(request: Request) -> None:
    """Return when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
