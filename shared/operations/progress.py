"""`GET /progress`: outbox, listeners, bridge and recent activity of one instance of a service."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field, StringConstraints
from snsqs import ListenerContainer, MessageOutcome, WireModel
from snsqs.outbox import Backlog, Relay
from snsqs.postgres import DatabaseUnavailable

from shared.operations.recent_entries import RecentEntries
from shared.operations.tally import Tally

_DATABASE_TIMEOUT = 1.0
"""Seconds for the query of the outbox; everything else is in memory."""


class Pace(WireModel):
    """Counts since the process started, and their rates."""

    counts: dict[str, int]
    per_second: float
    per_minute: int


class RelayProgress(Pace):
    """Outbox of a service. The figures of its table are null while the database is unavailable."""

    trouble: str | None
    waiting: int | None
    oldest_seconds: float | None
    parked: int | None


class ListenerProgress(Pace):
    """Listener of one queue, with counts by outcome."""

    queue: str
    topic: str
    handlers: dict[str, str]
    """Handler function by event type."""
    trouble: str | None
    is_paused: bool
    in_flight: int
    buffered: int


class SettledMessage(WireModel):
    """Outcome of one message; see `snsqs.MessageOutcome`."""

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


class RuleCount(WireModel):
    """Number of events that a rule decided in the same way."""

    rule: str | None
    """Null for events that failed before a rule matched."""
    decision: str
    count: int


class BridgeProgress(Pace):
    """Bridge of the adapter, with counts by decision."""

    rules: list[RuleCount]
    """Most frequent first."""
    published: dict[str, int]
    """Events that SNS accepted, by topic."""
    topics: list[str]
    """All topics of the routes."""


class RecentDecision(WireModel):
    """Decision of the adapter on one event, and the outcome of publishing it."""

    event_id: str
    type: str
    order_id: str
    source: str
    decision: str
    """`forwarded`, `held_back` or `failed`."""
    rule: str | None
    topic: str | None
    message_id: str | None
    """Message id that SNS assigned to a forwarded event."""
    error: str | None
    at: datetime


class ServiceProgress(WireModel):
    """Progress of one instance of a service. Counts are those of the instance that answers."""

    service: str
    trouble: str | None
    """Error of its database."""
    relay: RelayProgress | None
    """Null for a service without an outbox."""
    listeners: list[ListenerProgress]
    settled: list[SettledMessage]
    """Messages settled after the given cursor, oldest first; none without a cursor of this instance."""
    bridge: BridgeProgress | None = None
    """Null for every service but the adapter."""
    decisions: list[RecentDecision] = Field(default_factory=list)
    """Decisions after the given cursor, oldest first; none without a cursor of this instance."""
    missed: int
    """Number of further entries after the cursor that are no longer in memory."""
    cursor: str
    """Pass as `after` in the next request. Where several instances answer, pass the last one of each."""


class ProgressSource(Protocol):
    """Provider of the answers of `GET /progress`."""

    async def now(self, cursors: Collection[str] = ()) -> ServiceProgress: ...


class SettledMessages:
    """Observer of a service's listeners: outcomes by queue, and the most recent messages."""

    def __init__(self) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        """Counts by outcome, by queue."""
        self.recent = RecentEntries[MessageOutcome]()

    def add(self, settled: MessageOutcome) -> None:
        self.tallies[settled.queue].add(settled.outcome)
        self.recent.add(settled)


@dataclass(frozen=True)
class Progress:
    """ProgressSource of a service with an outbox and listeners."""

    service: str
    relay: Relay
    decided: Tally
    """Relayed events by decision."""
    listeners: Sequence[ListenerContainer]
    settled: SettledMessages

    async def now(self, cursors: Collection[str] = ()) -> ServiceProgress:
        """Return the current progress, and the messages settled after the cursors."""
        settled, missed = self.settled.recent.after(cursors)
        cursor = self.settled.recent.cursor
        backlog, error = await self._backlog()
        return ServiceProgress(
            service=self.service,
            trouble=error,
            relay=_relay_progress(self.relay, self.decided, backlog),
            listeners=[self._listener_progress(listener) for listener in self.listeners],
            settled=[SettledMessage.model_validate(each) for each in settled],
            missed=missed,
            cursor=cursor,
        )

    async def _backlog(self) -> tuple[Backlog | None, str | None]:
        try:
            async with asyncio.timeout(_DATABASE_TIMEOUT):
                return await self.relay.backlog(), None
        except (DatabaseUnavailable, TimeoutError) as error:
            reason = str(error) or f"no answer within {_DATABASE_TIMEOUT:g} s"
            return None, f"database: {reason}"

    def _listener_progress(self, listener: ListenerContainer) -> ListenerProgress:
        binding = listener.binding
        return ListenerProgress(
            queue=binding.queue,
            topic=binding.topic,
            handlers={event_type: handler.name for event_type, handler in binding.handlers.items()},
            trouble=listener.degraded_reason,
            is_paused=listener.is_paused,
            in_flight=listener.in_flight,
            buffered=listener.buffered,
            **pace(self.settled.tallies[binding.queue]),
        )


def _relay_progress(relay: Relay, decided: Tally, backlog: Backlog | None) -> RelayProgress:
    return RelayProgress(
        trouble=relay.degraded_reason,
        waiting=backlog.waiting if backlog else None,
        oldest_seconds=backlog.oldest_seconds if backlog else None,
        parked=backlog.parked if backlog else None,
        **pace(decided),
    )


def pace(tally: Tally) -> dict[str, Any]:
    """Return the members of `Pace`."""
    return {"counts": tally.counts, "per_second": tally.per_second, "per_minute": tally.per_minute}


Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}-[0-9]{1,18}$")]


def progress_router(source: ProgressSource) -> APIRouter:
    """Return the router of `GET /progress`."""
    router = APIRouter(tags=["health"])

    @router.get("/progress", summary="Progress: outbox, listeners, bridge, recent activity")
    async def progress(
        response: Response,
        after: Annotated[
            list[Cursor] | None, Query(max_length=20, description="Cursors of earlier answers.")
        ] = None,
    ) -> ServiceProgress:
        """Suitable for polling every second. Counts are those of the instance that answers."""
        # On a kept connection, a client would poll the same one of several instances for ever.
        response.headers["connection"] = "close"
        return await source.now(after or ())

    return router
