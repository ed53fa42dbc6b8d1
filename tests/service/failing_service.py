"""A service whose only background loop ends as its argument says: `python -m … KIND`. Started by tests."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from shared.runtime.background import BackgroundLoops
from shared.runtime.settings import ServiceSettings
from shared.service import command_line
from shared.web import application, components

stopping = asyncio.Event()


class PanicException(BaseException):
    """Derived as pyo3_runtime.PanicException."""


async def exit_in_a_task() -> None:
    """Raise SystemExit in a task of its own, which ends the event loop."""

    async def leave() -> None:
        raise SystemExit(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(leave())


async def panic() -> None:
    raise PanicException("index out of bounds")


async def panic_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(panic())


async def leave() -> None:
    raise SystemExit(0)


async def fail() -> None:
    raise ValueError("a defect")


async def cancelled() -> None:
    raise asyncio.CancelledError


async def end() -> None: ...


async def ignore_cancellation() -> None:
    """Run on after every cancellation."""
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def block() -> None:
    """Block the event loop, once the loop is asked to stop."""
    await stopping.wait()
    time.sleep(3600)  # noqa: ASYNC251


KINDS: dict[str, Callable[[], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        exit_in_a_task,
        panic,
        panic_in_a_group,
        leave,
        fail,
        cancelled,
        end,
        ignore_cancellation,
        block,
    )
}


class FailingLoop:
    """A loop that ends, or does not end, in one way."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def run(self) -> None:
        await asyncio.sleep(0.1)
        await KINDS[self._kind]()

    def stop(self) -> None:
        stopping.set()


def create_app(settings: ServiceSettings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with components(app).get(BackgroundLoops).running(FailingLoop(KIND)):
            yield

    return application(title="Failing", description="", lifespan=lifespan, settings=settings)


if __name__ == "__main__":
    KIND = sys.argv.pop()
    command_line("failing", ServiceSettings, create_app)()
