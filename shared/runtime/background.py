"""Background: the loops that run beside a service's web application, and who owns them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from fastapi import FastAPI

log = structlog.get_logger(__name__)

STOP_TIMEOUT = 20.0
"""Seconds that stopping may take before what still runs is cancelled."""

CANCEL_TIMEOUT = 3.0
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
        _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT)
        for task in late:
            log.error("did not stop in time", loop=task.get_name())
            task.cancel()
        ended, _ = await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
        for task in ended:
            if not task.cancelled() and (error := task.exception()):
                raise error


def stop(app: FastAPI) -> None:
    """Tells the loops of the application to stop; may be called early, and more than once."""
    for loop in getattr(app.state, "loops", ()):
        loop.stop()


async def _run(app: FastAPI, loop: Loop) -> None:
    try:
        await loop.run()
    except Exception:
        log.critical("a background loop failed; the service stops", loop=type(loop).__name__, exc_info=True)
        app.state.failed.set()
        raise
