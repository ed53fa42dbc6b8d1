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


class LoopEnded(Exception):
    """A background loop ended, and cannot be done without: it returned without being stopped, or raised an
    error that is no Exception, which is the cause."""


class BackgroundLoops:
    """Owner of an application's background loops: starts them together and stops them together."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        """Set when a loop has ended before it was stopped; the service must not continue then."""
        self._loops: tuple[Loop, ...] = ()
        self._is_stopping = False

    @asynccontextmanager
    async def running(self, *loops: Loop) -> AsyncIterator[None]:
        """Run the loops for the duration of the body, then stop them and wait until they have drained.

        Raises the error of a loop that failed.
        """
        self._loops, self._is_stopping = loops, False
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
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    def stop(self) -> None:
        """Ask all loops to stop. May be called early and repeatedly."""
        self._is_stopping = True
        for loop in self._loops:
            loop.stop()

    async def _run(self, loop: Loop) -> None:
        name = type(loop).__name__
        try:
            await loop.run()
            if not self._is_stopping:
                raise LoopEnded(f"{name} returned without being stopped")
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            log.critical("background loop failed; stopping the service", loop=name, exc_info=True)
            self.failed.set()
            if isinstance(error, Exception):
                raise
            # A SystemExit would end the event loop, with an exit code of its own.
            raise LoopEnded(f"{name} ended with {type(error).__name__}") from error
