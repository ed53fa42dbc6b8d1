"""Background: the loops that run beside a service's web application, and who owns them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog
from fastapi import FastAPI

log = structlog.get_logger(__name__)

STOP_MOST = 20.0
"""Seconds that stopping may take before what still runs is cancelled."""

CANCEL_MOST = 3.0
"""Seconds that what was cancelled is waited for."""


class Loop(Protocol):
    """Runs until it is stopped. An error that leaves `run` is a defect, or a refusal to go on."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


@asynccontextmanager
async def running(app: FastAPI, *loops: Loop) -> AsyncIterator[None]:
    """Runs the loops while its body runs; then stops them, waits until they drained, and raises the error
    of one that failed. `app.state.failed` is set when that happens, because a service must not go on
    answering as if nothing were."""
    app.state.loops = loops
    tasks = [asyncio.create_task(_run(app, loop), name=type(loop).__name__) for loop in loops]
    try:
        yield
    finally:
        stop(app)
        _, late = await asyncio.wait(tasks, timeout=STOP_MOST)
        for task in late:
            log.error("did not stop in time", loop=task.get_name())
            task.cancel()
        ended, _ = await asyncio.wait(tasks, timeout=CANCEL_MOST)
        for task in ended:
            if not task.cancelled() and (error := task.exception()):
                raise error


def stop(app: FastAPI) -> None:
    """Tells the loops of the application to stop; may be called early, and more than once."""
    for loop in getattr(app.state, "loops", ()):
        loop.stop()


async def set_within(seconds: float, event: asyncio.Event) -> bool:
    """How a loop rests: waits for the event, but no longer than that. Whether it is set then."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def _run(app: FastAPI, loop: Loop) -> None:
    try:
        await loop.run()
    except Exception:
        log.critical("a background loop failed; the service stops", loop=type(loop).__name__, exc_info=True)
        app.state.failed.set()
        raise
