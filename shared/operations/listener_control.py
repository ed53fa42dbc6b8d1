"""Control of a service's listeners: status, pause and resume, shared by all its instances."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import asyncpg
import structlog
from fastapi import APIRouter, Path
from snsqs import ListenerContainer, WireModel
from snsqs.postgres import Connection, Database

from shared.web import Operator, component, problems

log = structlog.get_logger(__name__)

PAUSED = "SELECT queue, paused_at, paused_by FROM paused_listener"

PAUSE = "INSERT INTO paused_listener (queue, paused_by) VALUES ($1, $2) ON CONFLICT DO NOTHING"

RESUME = "DELETE FROM paused_listener WHERE queue = $1"


class UnknownListener(Exception):
    """The service has no listener for this queue. The message lists its queues."""


class ListenerStatus(WireModel):
    """Status of one listener."""

    queue: str
    topic: str
    types: list[str]
    status: Literal["listening", "paused"]
    trouble: str | None
    """Reason why no messages are received; null if they are."""
    paused_at: datetime | None
    paused_by: str | None


class ListenerControl:
    """The listeners of this instance, paused and resumed as recorded in the database.

    The record survives a restart and applies to every instance of the service, so each of them calls
    `apply_paused` regularly.
    """

    def __init__(self, database: Database, listeners: Sequence[ListenerContainer]) -> None:
        self._database = database
        self._by_queue = {each.binding.queue: each for each in listeners}
        self._changing = asyncio.Lock()

    async def apply_paused(self) -> None:
        """Pause and resume the listeners as recorded. Raises DatabaseUnavailable."""
        async with self._changing, self._database.connection() as connection:
            self._apply(await _paused(connection))

    async def statuses(self) -> list[ListenerStatus]:
        """Return the current status of all listeners, by queue. Raises DatabaseUnavailable."""
        async with self._changing, self._database.connection() as connection:
            paused = await _paused(connection)
            self._apply(paused)
        return [_status(listener, paused) for _, listener in sorted(self._by_queue.items())]

    async def pause(self, queue: str, operator: str) -> ListenerStatus:
        """Receive no more messages from the queue until `resume`; received messages are still handled.

        Keeps the operator and time of an earlier pause. Raises UnknownListener, DatabaseUnavailable.
        """
        log.warning("pause requested", queue=queue, by=operator)
        return await self._change(queue, PAUSE, queue, operator)

    async def resume(self, queue: str, operator: str) -> ListenerStatus:
        """Receive from the queue again. Raises UnknownListener, DatabaseUnavailable."""
        log.info("resume requested", queue=queue, by=operator)
        return await self._change(queue, RESUME, queue)

    def require(self, queue: str) -> None:
        """Raise UnknownListener if no listener receives from the queue."""
        if queue not in self._by_queue:
            known = ", ".join(sorted(self._by_queue))
            raise UnknownListener(f"no listener for queue {queue}; the queues are {known}")

    async def _change(self, queue: str, statement: str, *parameters: str) -> ListenerStatus:
        self.require(queue)
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
"""Name of a queue, as a path parameter."""


ControlDependency = Annotated[ListenerControl, component(ListenerControl)]


@router.get("", summary="List the service's listeners and their pauses")
async def read_listeners(control: ControlDependency) -> list[ListenerStatus]:
    return await control.statuses()


@router.post("/{queue}/pause", responses=problems(404), summary="Pause a listener")
async def pause(queue: Queue, operator: Operator, control: ControlDependency) -> ListenerStatus:
    """Applies to all instances of the service until the listener is resumed. Received messages are still
    handled."""
    return await control.pause(queue, operator)


@router.post("/{queue}/resume", responses=problems(404), summary="Resume a listener")
async def resume(queue: Queue, operator: Operator, control: ControlDependency) -> ListenerStatus:
    """Succeeds also when the listener is not paused."""
    return await control.resume(queue, operator)
