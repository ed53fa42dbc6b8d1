"""Background loops that run beside a service's web application, and their owner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

STOP_TIMEOUT = 20.0
"""Seconds that stopping may take before loops that still run are cancelled."""

CANCEL_TIMEOUT = 3.0
"""Seconds to wait for cancelled loops to end."""


class Loop(Protocol):
    """A loop that runs until it is stopped. An error raised by `run` stops the service."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


class BackgroundLoops:
    """Owner of an application's background loops: starts them together and stops them together."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        """Set when a loop has ended with an error; the service must not continue then."""
        self._loops: tuple[Loop, ...] = ()

    @asynccontextmanager
    async def running(self, *loops: Loop) -> AsyncIterator[None]:
        """Run the loops for the duration of the body, then stop them and wait until they have drained.

        Raises the error of a loop that failed.
        """
        self._loops = loops
        tasks = [asyncio.create_task(self._run(loop), name=type(loop).__name__) for loop in loops]
        try:
            yield
        finally:
            self.stop()
            _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT)
            for task in late:
                log.error("background loop did not stop in time", loop=task.get_name())
                task.cancel()
            ended, _ = await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
            for task in ended:
                if not task.cancelled() and (error := task.exception()):
                    raise error

    def stop(self) -> None:
        """Ask all loops to stop. May be called early and repeatedly."""
        for loop in self._loops:
            loop.stop()

    async def _run(self, loop: Loop) -> None:
        try:
            await loop.run()
        except Exception:
            log.critical(
                "background loop failed; stopping the service", loop=type(loop).__name__, exc_info=True
            )
            self.failed.set()
            raise
