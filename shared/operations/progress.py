"""Progress: how far a service is just now. Its outbox, its listeners, and what they settled last."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ConfigDict, StringConstraints
from snsqs import ListenerContainer, WireModel
from snsqs.outbox import Relay, Waiting
from snsqs.postgres import DatabaseUnavailable

from shared.operations.settled_messages import SettledMessages
from shared.operations.tally import Tally

_MOST = 1.0
"""Seconds that the database may take. It is asked for three numbers; the others are known here."""


class Pace(WireModel):
    """Counts since this process started, and how fast they grow."""

    counts: dict[str, int]
    per_second: float
    per_minute: int


class RelayProgress(Pace):
    """What has not left yet, null while the database is away; and what became of the rest."""

    trouble: str | None
    waiting: int | None
    oldest_seconds: float | None
    parked: int | None


class ListenerProgress(Pace):
    """One queue's listener. The counts are by outcome."""

    queue: str
    topic: str
    handlers: dict[str, str]
    """The function that takes an event, by the event's type."""
    trouble: str | None
    is_paused: bool
    in_flight: int
    buffered: int


class SettledMessage(WireModel):
    """What became of a message; see Settled."""

    model_config = ConfigDict(from_attributes=True)

    queue: str
    message_id: str
    type: str
    subject: str
    handler: str | None
    outcome: str
    reason: str | None
    receive_count: int
    received_at: datetime
    settled_at: datetime


class ServiceProgress(WireModel):
    """How far one instance of a service is."""

    service: str
    trouble: str | None
    """Of its database."""
    relay: RelayProgress
    listeners: list[ListenerProgress]
    settled: list[SettledMessage]
    """Oldest first: those after the cursor that was given; none without one."""
    missed: int
    """So many more were settled after the cursor, and are forgotten."""
    cursor: str
    """To be given as `after` next time. Where several instances answer, give the last one of each."""


@dataclass(frozen=True)
class Progress:
    """What is asked for it."""

    service: str
    relay: Relay
    decided: Tally
    """Events by decision."""
    listeners: Sequence[ListenerContainer]
    settled: SettledMessages

    async def now(self, cursors: Collection[str] = ()) -> ServiceProgress:
        """How far the service is, and what it settled after the cursors."""
        settled, missed = self.settled.after(cursors)
        cursor = self.settled.cursor
        waiting, trouble = await self._waiting()
        return ServiceProgress(
            service=self.service,
            trouble=trouble,
            relay=_of_relay(self.relay, self.decided, waiting),
            listeners=[self._of_listener(listener) for listener in self.listeners],
            settled=[SettledMessage.model_validate(each) for each in settled],
            missed=missed,
            cursor=cursor,
        )

    async def _waiting(self) -> tuple[Waiting | None, str | None]:
        try:
            async with asyncio.timeout(_MOST):
                return await self.relay.waiting(), None
        except (DatabaseUnavailable, TimeoutError) as error:
            return None, f"database: {error}" if str(error) else f"database: no answer within {_MOST:g} s"

    def _of_listener(self, listener: ListenerContainer) -> ListenerProgress:
        binding = listener.binding
        return ListenerProgress(
            queue=binding.queue,
            topic=binding.topic,
            handlers={event_type: handler.name for event_type, handler in binding.handlers.items()},
            trouble=listener.degraded_reason,
            is_paused=listener.is_paused,
            in_flight=listener.in_flight,
            buffered=listener.buffered,
            **_pace(self.settled.tallies[binding.queue]),
        )


def _of_relay(relay: Relay, decided: Tally, waiting: Waiting | None) -> RelayProgress:
    return RelayProgress(
        trouble=relay.degraded_reason,
        waiting=waiting.events if waiting else None,
        oldest_seconds=waiting.oldest_seconds if waiting else None,
        parked=waiting.parked if waiting else None,
        **_pace(decided),
    )


def _pace(tally: Tally) -> dict[str, Any]:
    return {"counts": tally.counts, "per_second": tally.per_second, "per_minute": tally.per_minute}


router = APIRouter(tags=["health"])

Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}-[0-9]{1,18}$")]


@router.get("/progress", summary="How far this service is: its outbox, its listeners, what they settled last")
async def progress(
    request: Request,
    after: Annotated[
        list[Cursor] | None, Query(max_length=20, description="cursors of earlier answers")
    ] = None,
) -> ServiceProgress:
    """Cheap enough to be asked for every second. The counts are those of the instance that answers."""
    found: Progress = request.app.state.progress
    return await found.now(after or ())
