"""Listeners: those of a service, and which of them a person has paused."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import asyncpg
import structlog
from fastapi import APIRouter, Depends, Path, Request
from snsqs import ListenerContainer, WireModel
from snsqs.postgres import Connection, Database

from shared.web import Operator, Problem, problems

log = structlog.get_logger(__name__)

PAUSED = "SELECT queue, paused_at, paused_by FROM paused_listener"

PAUSE = "INSERT INTO paused_listener (queue, paused_by) VALUES ($1, $2) ON CONFLICT DO NOTHING"

RESUME = "DELETE FROM paused_listener WHERE queue = $1"


class UnknownListener(Exception):
    """The service has no listener on this queue."""


class ListenerStatus(WireModel):
    """What a listener does."""

    queue: str
    topic: str
    types: list[str]
    status: Literal["listening", "paused"]
    trouble: str | None
    """Why nothing is received just now, or null."""
    paused_at: datetime | None
    paused_by: str | None


class Listeners:
    """The listeners of this instance, paused and resumed as recorded in the database.

    The record survives a restart and applies to every instance of the service, so each of them calls `follow`
    regularly.
    """

    def __init__(self, database: Database, listeners: Sequence[ListenerContainer]) -> None:
        self._database = database
        self._by_queue = {each.binding.queue: each for each in listeners}
        self._changing = asyncio.Lock()

    async def follow(self) -> None:
        """Pause and resume the listeners as recorded. Raises DatabaseUnavailable."""
        async with self._changing, self._database.connection() as connection:
            self._apply(await _paused(connection))

    async def all(self) -> list[ListenerStatus]:
        """As they are now, by queue."""
        async with self._changing, self._database.connection() as connection:
            paused = await _paused(connection)
            self._apply(paused)
        return [_status(listener, paused) for _, listener in sorted(self._by_queue.items())]

    async def pause(self, queue: str, who: str) -> ListenerStatus:
        """Nothing more is received from the queue until `resume`; what was received is still handled. Who
        paused it first remains known. Raises UnknownListener."""
        log.warning("pause", queue=queue, by=who)
        return await self._change(queue, PAUSE, queue, who)

    async def resume(self, queue: str, who: str) -> ListenerStatus:
        """Receives again. Raises UnknownListener."""
        log.info("resume", queue=queue, by=who)
        return await self._change(queue, RESUME, queue)

    async def _change(self, queue: str, statement: str, *parameters: str) -> ListenerStatus:
        if queue not in self._by_queue:
            raise UnknownListener(f"this service does not listen to {queue}")
        async with self._changing:
            async with self._database.transaction() as tx:
                await tx.connection.execute(statement, *parameters)
                paused = await _paused(tx.connection)
            self._apply(paused)
        return _status(self._by_queue[queue], paused)

    def _apply(self, paused: Mapping[str, asyncpg.Record]) -> None:
        for queue, listener in self._by_queue.items():
            if queue in paused and not listener.is_paused:
                listener.pause()
                log.warning("listener paused", queue=queue)
            elif queue not in paused and listener.is_paused:
                listener.resume()
                log.info("listener resumed", queue=queue)


async def _paused(connection: Connection) -> dict[str, asyncpg.Record]:
    return {row["queue"]: row for row in await connection.fetch(PAUSED)}


def _status(listener: ListenerContainer, paused: Mapping[str, asyncpg.Record]) -> ListenerStatus:
    row = paused.get(listener.binding.queue)
    return ListenerStatus(
        queue=listener.binding.queue,
        topic=listener.binding.topic,
        types=listener.binding.event_types,
        status="paused" if row else "listening",
        trouble=listener.degraded_reason,
        paused_at=row["paused_at"] if row else None,
        paused_by=row["paused_by"] if row else None,
    )


router = APIRouter(prefix="/listeners", tags=["listeners"])

Queue = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,80}(\.fifo)?$")]
"""A queue's name in a path."""


def _listeners(request: Request) -> Listeners:
    found: Listeners = request.app.state.listeners
    return found


ListenersDependency = Annotated[Listeners, Depends(_listeners)]


@router.get("", summary="The queues that this service listens to, and which of them are paused")
async def listeners(listeners: ListenersDependency) -> list[ListenerStatus]:
    return await listeners.all()


@router.post("/{queue}/pause", responses=problems(404), summary="Receive nothing more from a queue")
async def pause(queue: Queue, operator: Operator, listeners: ListenersDependency) -> ListenerStatus:
    """On all instances of the service, and until somebody resumes it. What was received is still handled."""
    try:
        return await listeners.pause(queue, operator)
    except UnknownListener as error:
        raise Problem(404, str(error)) from error


@router.post("/{queue}/resume", responses=problems(404), summary="Receive from a queue again")
async def resume(queue: Queue, operator: Operator, listeners: ListenersDependency) -> ListenerStatus:
    """Not paused is as good."""
    try:
        return await listeners.resume(queue, operator)
    except UnknownListener as error:
        raise Problem(404, str(error)) from error
