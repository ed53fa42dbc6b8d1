"""Services on real ports, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI
from snsqs.postgres import Database

from local.ports import HOST
from services.adapter.main import create_app as create_adapter
from services.adapter.settings import Settings as AdapterSettings
from services.console.main import create_app as create_console
from services.console.settings import Settings as ConsoleSettings
from services.order.main import create_app as create_order
from services.order.settings import Settings as OrderSettings
from services.scm.main import create_app as create_scm
from services.scm.settings import Settings as ScmSettings
from shared.operations.registration import Registration
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, bearer, development_token
from shared.service import Server, bind
from shared.web import components

T = TypeVar("T")

OPERATOR = bearer(DEVELOPMENT_OPERATOR.token)
"""HTTP headers of an operator."""

SERVICE = bearer(development_token("order"))
"""HTTP headers of the Order service."""

PRODUCTION_TOKENS = {
    "SERVICE_TOKEN": "a-token-that-is-in-use",
    "SERVICE_TOKENS": "order:a-token-of-order",
    "OPERATOR_TOKENS": "kim:a-token-that-only-kim-has",
}
"""Environment variables without which no service starts in production."""


@dataclass(frozen=True)
class Served:
    """A running service, its address and a client for it."""

    url: str
    http: httpx.AsyncClient
    app: FastAPI

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    @property
    def registration(self) -> Registration:
        """The registration of this instance, at its real address."""
        return self.registered_at(self.url)

    def registered_at(self, url: str) -> Registration:
        """Return the registration of this instance at another address."""
        changes = {"url": url, "instance": f"instance-{httpx.URL(url).port}"}
        return components(self.app).get(Registration).model_copy(update=changes)

    @property
    def database(self) -> Database:
        return components(self.app).get(Database)


DOWN = f"http://{HOST}:1"
"""URL where nothing listens."""

URL = "http://localhost"
"""Base URL of an application that is called without a port."""


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Operator's client of an application that is not served; its lifespan is not opened."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=URL, headers=OPERATOR
    ) as client:
        yield client


@asynccontextmanager
async def serving(app: FastAPI, port: int = 0) -> AsyncIterator[Served]:
    """Open the lifespan of an application and serve it until the body ends."""
    listening = bind(HOST, port)
    url = f"http://{HOST}:{listening.getsockname()[1]}"
    server = Server(app, shutdown_timeout=1)
    async with app.router.lifespan_context(app), httpx.AsyncClient(base_url=url, timeout=30) as http:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield Served(url, http, app)
        finally:
            server.stop()
            await task


@asynccontextmanager
async def adapter_service(aws_url: str, **settings: Any) -> AsyncIterator[Served]:
    """Serve the Adapter service alone."""
    down = f"http://{HOST}:1"
    usual = {"environment": "development", "aws_endpoint_url": aws_url, "order_url": down, "scm_url": down}
    settings = usual | settings
    async with serving(create_adapter(AdapterSettings(**settings))) as served:
        yield served


@asynccontextmanager
async def console_service(
    database_url: str, aws_url: str, *registered: Registration, listens_on: int = 0, **settings: Any
) -> AsyncIterator[Served]:
    """Serve the Console service, with which these instances are registered."""
    usual = {"environment": "development", "database_url": database_url, "aws_endpoint_url": aws_url}
    async with serving(create_console(ConsoleSettings(**(usual | settings))), listens_on) as served:
        for each in registered:
            await register(served, each)
        yield served


async def register(console: Served, registration: Registration) -> None:
    """Register an instance, as it does itself where CONSOLE_URL is set."""
    path = f"/api/registrations/{registration.service}/{registration.instance}"
    body = registration.model_dump(mode="json", by_alias=True)
    headers = bearer(development_token(registration.service))
    (await console.http.put(path, json=body, headers=headers)).raise_for_status()


@asynccontextmanager
async def order_service(
    database_url: str, aws_url: str, adapter_url: str, port: int = 0, **settings: Any
) -> AsyncIterator[Served]:
    """Serve the Order service alone."""
    usual = {
        "environment": "development",
        "database_url": database_url,
        "adapter_url": adapter_url,
        "aws_endpoint_url": aws_url,
    }
    async with serving(create_order(OrderSettings(**(usual | settings))), port) as served:
        yield served


@asynccontextmanager
async def scm_service(
    database_url: str, aws_url: str, adapter_url: str, order_url: str, port: int = 0
) -> AsyncIterator[Served]:
    """Serve the SCM service alone."""
    settings = ScmSettings(
        environment="development",
        database_url=database_url,
        adapter_url=adapter_url,
        order_url=order_url,
        aws_endpoint_url=aws_url,
    )
    async with serving(create_scm(settings), port) as served:
        yield served


async def eventually(ask: Callable[[], Awaitable[T | None]], *, within: float = 60.0) -> T:
    """Poll until the answer is true, and return it; fail after `within` seconds."""
    answer: T | None = None
    try:
        async with asyncio.timeout(within):
            while not (answer := await ask()):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {getattr(ask, '__doc__', None) or ask}") from None
    return answer
