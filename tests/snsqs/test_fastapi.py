"""Listeners in the lifespan of a FastAPI or Starlette application, and its health routes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from snsqs import ListenerContainer, SnsChannel, Topology, aws_clients, bindings
from snsqs.fastapi import BackgroundLoop, Messaging, open_listeners
from snsqs.queues import ListenerQueues
from snsqs.testing import MemoryBroker
from starlette.applications import Starlette

from tests.conftest import REGION
from tests.serving import eventually
from tests.snsqs.queues import QUEUE, TOPIC, Painted, listener, message

Application = FastAPI | Starlette


def fastapi(messaging: Messaging) -> Application:
    app = FastAPI(lifespan=messaging.lifespan)
    app.include_router(messaging.router)
    return app


def starlette(messaging: Messaging) -> Application:
    return Starlette(routes=messaging.router.routes, lifespan=messaging.lifespan)


async def get(app: Application, path: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get(path)
        return response.status_code, response.json()


@pytest.fixture(params=[fastapi, starlette])
def application(request: pytest.FixtureRequest) -> Callable[[Messaging], Application]:
    made: Callable[[Messaging], Application] = request.param
    return made


@listener
async def handler(event: Painted) -> None: ...


async def test_listeners_run_in_the_lifespan(application: Callable[[Messaging], Application]) -> None:
    """Drained at its end; before and after, the application is alive and not ready."""
    broker = MemoryBroker()
    started, release = asyncio.Event(), asyncio.Event()
    handled = []

    @listener
    async def slow(event: Painted) -> None:
        started.set()
        await release.wait()
        handled.append(event.source.id)

    class Source:
        settings = broker.settings

        async def listener_queues(self, binding: Any) -> ListenerQueues:
            return ListenerQueues(*broker.subscribe(binding))

    @asynccontextmanager
    async def loops() -> AsyncIterator[list[ListenerContainer]]:
        yield [ListenerContainer(Source(), *bindings([slow]))]
        assert handled == ["1"]  # what the listeners use is closed after them

    messaging = Messaging(loops)
    app = application(messaging)
    assert await get(app, "/readyz") == (503, {"status": "not ready", "checks": {}})
    async with app.router.lifespan_context(app):
        assert await get(app, "/readyz") == (200, {"status": "ready", "checks": {QUEUE: "ok"}})
        [container] = messaging.listeners
        await broker.topic(TOPIC).send([message()])
        await asyncio.wait_for(started.wait(), 10)
        container.pause()
        assert await get(app, "/readyz") == (200, {"status": "ready", "checks": {QUEUE: "paused"}})
        asyncio.get_running_loop().call_later(0.2, release.set)
    assert container.health.state == "stopped"
    assert (await get(app, "/readyz"))[0] == 503
    assert await get(app, "/livez") == (200, {"status": "alive", "checks": {}})


async def test_a_loop_that_ended_by_an_error_fails_liveness() -> None:
    """So that the process is restarted."""

    class Broken:
        name = "broken loop"
        degraded_reason = None

        async def run(self) -> None:
            raise ValueError("defect")

        def stop(self) -> None: ...

    @asynccontextmanager
    async def loops() -> AsyncIterator[list[BackgroundLoop]]:
        yield [Broken(), Broken()]

    app = fastapi(Messaging(loops))
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
        checks = {"broken loop": "ValueError: defect", "broken loop #2": "ValueError: defect"}
        assert await get(app, "/livez") == (503, {"status": "failed", "checks": checks})
        assert await get(app, "/readyz") == (503, {"status": "not ready", "checks": checks})


async def test_open_listeners_opens_the_clients(aws_url: str) -> None:
    """On SNS and SQS, with queues that are created."""
    handled = []

    @listener
    async def on_painted(event: Painted) -> None:
        handled.append(event.source.id)

    messaging = Messaging(
        lambda: open_listeners([on_painted], region=REGION, endpoint_url=aws_url, create=True)
    )
    app = fastapi(messaging)

    async def is_handled() -> bool:
        return handled == ["1"]

    async with (
        app.router.lifespan_context(app),
        aws_clients(region=REGION, endpoint_url=aws_url) as clients,
    ):
        await SnsChannel(clients.sns, Topology(clients, create=True), TOPIC).send([message()])
        await eventually(is_handled)
