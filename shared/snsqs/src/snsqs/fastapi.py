"""Listeners and relay in the lifespan of a FastAPI or Starlette application, and its health routes.

    from fastapi import FastAPI
    from snsqs.fastapi import Messaging, open_listeners

    messaging = Messaging(lambda: open_listeners([on_order_completed], region="eu-central-1"))
    app = FastAPI(lifespan=messaging.lifespan)
    app.include_router(messaging.router)

Needs FastAPI: `pip install snsqs[fastapi]`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from snsqs._arguments import require_opener
from snsqs._binding import Binding, bindings
from snsqs._errors import error_reason
from snsqs._handler import HandlerFunction, Middleware
from snsqs._listener import ListenerContainer
from snsqs._options import ListenerOptions
from snsqs.aws import aws_clients
from snsqs.topology import Topology

__all__ = [
    "BackgroundLoop",
    "Messaging",
    "OpenLoops",
    "open_listeners",
]

log = logging.getLogger(__name__)


class BackgroundLoop(Protocol):
    """A ListenerContainer, a Relay, or another loop of the application."""

    async def run(self) -> None:
        """Work until `stop`."""
        ...

    def stop(self) -> None:
        """End `run`."""
        ...

    @property
    def degraded_reason(self) -> str | None:
        """Reason why the loop does not work at present, or None."""
        ...


OpenLoops: TypeAlias = Callable[[], AbstractAsyncContextManager[Sequence[BackgroundLoop]]]
"""Opens clients and databases, and returns the loops that use them."""


@asynccontextmanager
async def open_listeners(
    handlers: Iterable[HandlerFunction | Binding],
    *,
    region: str,
    endpoint_url: str | None = None,
    create: bool = False,
    middleware: Sequence[Middleware] = (),
    options: ListenerOptions | None = None,
) -> AsyncIterator[list[ListenerContainer]]:
    """Open the AWS clients, and return the listeners of the handlers. Raises ListenerMisconfigured.

    `create` lets the listeners create their queues, in development; in production a missing queue is a
    TopologyError at start.
    """
    async with aws_clients(region=region, endpoint_url=endpoint_url) as clients:
        topology = Topology(clients, create=create)
        yield [
            ListenerContainer(topology, each, middleware=middleware, options=options)
            for each in bindings(handlers)
        ]


class Messaging:
    """Background loops of one application: `lifespan` runs them, `router` reports their condition.

    `/livez` answers 503 when a loop has ended by an error, so that the process is restarted. `/readyz`
    answers 503 before and after the loops run. A loop that is degraded or paused does not make an application
    unready, because it still answers requests; both routes report the reason.
    """

    def __init__(self, open_loops: OpenLoops) -> None:
        """
        Args:
            open_loops: called at the start of the application. What it opens is closed at its end, after the
                loops have been stopped and their running handlers have returned.
        """
        require_opener(open_loops, "Messaging")
        self._open_loops = open_loops
        self._tasks: dict[str, tuple[BackgroundLoop, asyncio.Task[None]]] = {}
        self.router = APIRouter(tags=["health"])
        """Routes `/livez` and `/readyz`; `router.routes` for Starlette."""
        self.router.add_route("/livez", self._livez)
        self.router.add_route("/readyz", self._readyz)

    @property
    def listeners(self) -> list[ListenerContainer]:
        """Listeners that run at present."""
        return [loop for loop, _ in self._tasks.values() if isinstance(loop, ListenerContainer)]

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Lifespan of the application. Raises TopologyError when a queue is missing."""
        async with self._open_loops() as loops:
            for loop in loops:
                if isinstance(loop, ListenerContainer):
                    await loop.prepare()
            for loop in loops:
                task = asyncio.create_task(loop.run())
                task.add_done_callback(_log_error)
                self._tasks[self._unique_name(loop)] = loop, task
            try:
                yield
            finally:
                running, self._tasks = list(self._tasks.values()), {}
                for loop, _ in running:
                    loop.stop()
                await asyncio.gather(*(task for _, task in running), return_exceptions=True)

    def _unique_name(self, loop: BackgroundLoop) -> str:
        """Return the queue of a listener, or the loop's `name`; with a number, if it is not the only one."""
        name: str = getattr(loop, "name", type(loop).__name__)
        if isinstance(loop, ListenerContainer):
            name = loop.binding.queue
        same = sum(each == name or each.startswith(f"{name} #") for each in self._tasks)
        return f"{name} #{same + 1}" if same else name

    async def _livez(self, _request: Request) -> JSONResponse:
        is_alive = not any(task.done() for _, task in self._tasks.values())
        return self._response("alive" if is_alive else "failed", is_alive)

    async def _readyz(self, _request: Request) -> JSONResponse:
        is_ready = bool(self._tasks) and not any(task.done() for _, task in self._tasks.values())
        return self._response("ready" if is_ready else "not ready", is_ready)

    def _response(self, status: str, is_well: bool) -> JSONResponse:
        checks = {name: _condition(loop, task) for name, (loop, task) in self._tasks.items()}
        return JSONResponse({"status": status, "checks": checks}, 200 if is_well else 503)


def _condition(loop: BackgroundLoop, task: "asyncio.Task[None]") -> str:
    if not task.done():
        return loop.degraded_reason or "ok"
    error = None if task.cancelled() else task.exception()
    return "ended" if error is None else error_reason(error)


def _log_error(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background loop ended", exc_info=error)
