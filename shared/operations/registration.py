"""Registration of a service's instances with the console, from which operators' tools know the system.

An instance registers when it starts, renews its registration while it runs, and deregisters when it stops.
The event path does not depend on it: while the console is unavailable, registration is retried.
"""

import asyncio
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import httpx
import structlog
from pydantic import Field, StringConstraints
from snsqs import Binding, WireModel
from snsqs.background import wait_for_event

from shared.runtime.service_client import RequestRejected, ServiceClient, ServiceUnavailable
from shared.runtime.settings import HttpUrl, ServiceSettings
from shared.runtime.tokens import bearer

log = structlog.get_logger(__name__)

RENEWAL_INTERVAL = 10.0
"""Seconds between two renewals."""

EXPIRY = 3 * RENEWAL_INTERVAL
"""Seconds after which a registration that was not renewed is stale."""

_RETRY_INTERVAL = 1.0
_TIMEOUT = 2.0

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
InstanceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


class RegisteredQueue(WireModel):
    """A queue that the instance listens to."""

    queue: str
    topics: list[str]
    event_types: list[str]


class Registration(WireModel):
    """One instance of a service, and what it publishes and consumes."""

    service: ServiceName
    instance: InstanceName
    url: HttpUrl
    """Base URL of this instance, not of a load balancer in front of several."""
    version: str = Field(max_length=200)
    publishes: list[str] = Field(default_factory=list, max_length=1_000)
    """Types of the events in its outbox; empty for a service without one."""
    queues: list[RegisteredQueue] = Field(default_factory=list, max_length=100)
    topics: list[str] = Field(default_factory=list, max_length=1_000)
    """Topics that an adapter publishes the events of all services to; empty for every other service."""
    has_checksum: bool = False
    """Whether `GET /reconciliation/checksum` covers everything that its handlers store."""

    @classmethod
    def of_process(
        cls, service: str, settings: ServiceSettings, **published_and_consumed: Any
    ) -> "Registration":
        """Return the registration of this process: named after host and process id, at ADVERTISED_URL, else
        at HOST and PORT, with the host's name in place of an address that stands for all interfaces."""
        return cls(
            service=service,
            instance=f"{socket.gethostname()}-{os.getpid()}",
            url=settings.instance_url,
            version=settings.service_version,
            **published_and_consumed,
        )


def registered_queues(bound: Iterable[Binding]) -> list[RegisteredQueue]:
    """Return the queues of these bindings."""
    return [
        RegisteredQueue(queue=each.queue, topics=list(each.topics), event_types=each.event_types)
        for each in bound
    ]


class Registrar:
    """Background loop that keeps an instance registered, if CONSOLE_URL is set. Logs when registration begins
    to fail, and when it succeeds again."""

    def __init__(
        self, registration: Registration, settings: ServiceSettings, http: httpx.AsyncClient
    ) -> None:
        self._registration = registration
        self._console = settings.console_url and ServiceClient(
            "console", settings.console_url, http, bearer(settings.service_token), _TIMEOUT
        )
        self._path = f"/api/registrations/{registration.service}/{registration.instance}"
        self._stopping = asyncio.Event()
        self._error: str | None = None

    def stop(self) -> None:
        """Deregister; `run` returns afterwards."""
        self._stopping.set()

    async def run(self) -> None:
        """Register, and renew until `stop` is called."""
        if self._console:
            await self._keep_registered(self._console)
        else:
            await self._stopping.wait()

    async def _keep_registered(self, console: ServiceClient) -> None:
        while not self._stopping.is_set():
            interval = RENEWAL_INTERVAL if await self._register(console) else _RETRY_INTERVAL
            await wait_for_event(self._stopping, interval)
        if self._error is None:
            with suppress(ServiceUnavailable, RequestRejected):
                await console.send("DELETE", self._path)

    async def _register(self, console: ServiceClient) -> bool:
        body = self._registration.model_dump(mode="json", by_alias=True)
        try:
            await console.send("PUT", self._path, body)
        except (ServiceUnavailable, RequestRejected) as error:
            if self._error is None:
                log.warning("not registered with the console", error=str(error))
            self._error = str(error)
            return False
        if self._error is not None:
            log.info("registered with the console", url=self._registration.url)
        self._error = None
        return True
