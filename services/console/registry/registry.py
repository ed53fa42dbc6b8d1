"""Registry: registrations of all instances, in the console's database, and clients of the services."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Literal, TypeAlias

import httpx
from snsqs import WireModel
from snsqs.postgres import Database, DatabaseUnavailable

from shared.operations.registration import EXPIRY, RegisteredQueue, Registration
from shared.runtime.service_client import (
    DEFAULT_TIMEOUT,
    ServiceClient,
    ServiceUnavailable,
    ServiceUnreachable,
)

_MAX_AGE = 1.0
"""Seconds for which registrations are remembered."""

_FORGOTTEN_AFTER = 600.0
"""Seconds after which a stale instance is forgotten, if another instance of its service is registered."""

UPSERT = """
    INSERT INTO registration (service, instance, document)
    VALUES ($1, $2, $3)
    ON CONFLICT (service, instance)
    DO UPDATE SET document = EXCLUDED.document, renewed_at = now(), stopped_at = NULL
"""

FORGET_OTHERS = """
    DELETE FROM registration
    WHERE service = $1 AND instance <> $2
      AND (stopped_at IS NOT NULL OR renewed_at < now() - make_interval(secs => $3))
"""

STOP = """
    UPDATE registration SET stopped_at = now()
    WHERE service = $1 AND instance = $2
"""

FORGET_STOPPED = """
    DELETE FROM registration AS stopped
    WHERE service = $1 AND stopped_at IS NOT NULL
      AND EXISTS (SELECT FROM registration WHERE service = $1 AND registration.stopped_at IS NULL)
"""

SELECT = """
    SELECT document, renewed_at, stopped_at,
           CASE WHEN stopped_at IS NOT NULL THEN 'stopped'
                WHEN renewed_at < now() - make_interval(secs => $1) THEN 'stale'
                ELSE 'registered' END AS state
    FROM registration
    ORDER BY service, stopped_at DESC NULLS FIRST, renewed_at DESC, instance
"""

REMOVE = """
    DELETE FROM registration
    WHERE service = $1
      AND NOT EXISTS (
          SELECT FROM registration
          WHERE service = $1 AND stopped_at IS NULL AND renewed_at >= now() - make_interval(secs => $2)
      )
"""


class UnknownService(Exception):
    """No service of this name has registered."""


class StillRegistered(Exception):
    """The service has an instance that runs. Stop it first."""


State: TypeAlias = Literal["registered", "stale", "stopped"]


class Instance(WireModel):
    """A registered instance of a service."""

    registration: Registration
    state: State
    """`stale` when it has not renewed its registration for 30 seconds, `stopped` when it has deregistered."""
    renewed_at: datetime
    stopped_at: datetime | None

    @property
    def name(self) -> str:
        return self.registration.instance


class RegisteredService(WireModel):
    """A service and its instances, those that renewed their registration last first."""

    name: str
    instances: list[Instance]

    @property
    def running(self) -> list[Instance]:
        """The instances that have not stopped; stale ones only if there are no others."""
        registered = [each for each in self.instances if each.state == "registered"]
        return registered or [each for each in self.instances if each.state == "stale"]

    @property
    def latest(self) -> Registration:
        """The registration that was renewed last."""
        return self.instances[0].registration

    @property
    def queues(self) -> list[RegisteredQueue]:
        return self.latest.queues

    @property
    def is_adapter(self) -> bool:
        return bool(self.latest.topics)


class Registry:
    """Reads and writes the registrations; its clients send the console's own token.

    Methods that write raise DatabaseUnavailable. While the database is unavailable, those that read return
    what was known last, and raise ServiceUnavailable if nothing is known.
    """

    def __init__(self, database: Database, http: httpx.AsyncClient, headers: Mapping[str, str]) -> None:
        self._database = database
        self._http = http
        self._headers = headers
        self._services: dict[str, RegisteredService] | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def register(self, registration: Registration) -> None:
        """Add or renew a registration."""
        service, instance = registration.service, registration.instance
        async with self._database.transaction() as tx:
            document = registration.model_dump(mode="json", by_alias=True)
            await tx.connection.execute(UPSERT, service, instance, document)
            await tx.connection.execute(FORGET_OTHERS, service, instance, _FORGOTTEN_AFTER)
        self._read_at = float("-inf")
        await self.services()  # known from now on, also without the database

    async def deregister(self, service: str, instance: str) -> None:
        """Remove an instance; the last one of its service is kept as stopped."""
        async with self._database.transaction() as tx:
            await tx.connection.execute(STOP, service, instance)
            await tx.connection.execute(FORGET_STOPPED, service)
        self._read_at = float("-inf")

    async def remove(self, service: str) -> None:
        """Remove a service that no longer exists. Raises UnknownService and StillRegistered."""
        await self.service(service)
        async with self._database.transaction() as tx:
            removed = await tx.connection.execute(REMOVE, service, EXPIRY)
        self._read_at = float("-inf")
        if removed == "DELETE 0":
            raise StillRegistered(f"service {service!r} has an instance that runs; stop it first")

    async def services(self) -> list[RegisteredService]:
        """Return all services by name."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._services is None or now - self._read_at >= _MAX_AGE:
                try:
                    self._services, self._read_at = await self._read(), now
                except DatabaseUnavailable as error:
                    if self._services is None:
                        raise ServiceUnavailable(f"the services are unknown: {error}") from error
            return list(self._services.values())

    async def service(self, name: str) -> RegisteredService:
        """Return the service of this name. Raises UnknownService."""
        services = await self.services()
        for each in services:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in services) or "none"
        raise UnknownService(f"no service {name!r} has registered; registered: {known}")

    def client(self, name: str) -> "RegisteredClient":
        """Return a client of the service, which need not have registered yet."""
        return RegisteredClient(name, "", self._http, self._headers, registry=self)

    async def instances(self, name: str) -> list[ServiceClient]:
        """Return a client of each running instance of the service. Raises UnknownService."""
        running = (await self.service(name)).running
        return [self.instance_client(each) for each in running]

    def instance_client(self, instance: Instance, timeout: float = DEFAULT_TIMEOUT) -> ServiceClient:
        """Return a client of this instance only."""
        registration = instance.registration
        return ServiceClient(registration.service, registration.url, self._http, self._headers, timeout)

    async def topics(self) -> list[str]:
        """Return the names of the topics of all adapters."""
        return sorted({topic for each in await self.services() for topic in each.latest.topics})

    async def _read(self) -> dict[str, RegisteredService]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(SELECT, EXPIRY)
        found = [_instance(**dict(row)) for row in rows]
        return {
            name: RegisteredService(name=name, instances=list(instances))
            for name, instances in groupby(found, key=lambda each: each.registration.service)
        }


def _instance(document: dict[str, Any], **columns: Any) -> Instance:
    return Instance(registration=Registration.model_validate(document), **columns)


@dataclass(frozen=True)
class RegisteredClient(ServiceClient):
    """Client of a service, whichever of its instances answers. A read that reaches no response from one
    instance is sent to the next; everything else goes to the one that renewed its registration last."""

    registry: Registry = field(kw_only=True, repr=False)

    def __str__(self) -> str:
        return self.name

    async def _request(self, method: str, path: str, **arguments: Any) -> Any:
        *others, last = await self._instances()
        for instance in others:
            try:
                return await instance._request(method, path, **arguments)
            except ServiceUnreachable:
                if method != "GET":
                    raise
        return await last._request(method, path, **arguments)

    async def _instances(self) -> list[ServiceClient]:
        """Return the clients of the running instances. Raises ServiceUnreachable when there are none."""
        try:
            instances = await self.registry.instances(self.name)
        except UnknownService as error:
            raise ServiceUnreachable(str(error)) from error
        if not instances:
            raise ServiceUnreachable(f"{self.name}: all instances have stopped")
        return [each.with_headers(self.headers, self.timeout) for each in instances]
