"""Replay: sends events once more that were sent before, and proves that it changed nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field, StrictBool
from snsqs.background import wait_for_event
from snsqs.queues import batched

from services.console.recovery.adapter import AdapterClient, CloudEvent, Decision, EventLogPage
from services.console.recovery.consumers import Consumers
from services.console.recovery.operation import Operation, Operations, Selected
from services.console.recovery.pace import Pace, PerSecond
from services.console.recovery.proof import Deliveries, Proof, State
from services.console.recovery.services import Person, Services
from shared.operations.selection import ExplicitSelection, Name, allow_duplicates
from shared.runtime.service_client import ServiceClient
from shared.web import ClampedTimestamp, RequestModel

_PAGE = 100
_POLL_FIRST, _POLL_MOST = 0.1, 1.6
"""Seconds: asking reads the consumers' inboxes from end to end."""


Held = Callable[[Collection[str]], Awaitable[int]]
"""How many messages are in queues of these names."""

Decide = Callable[[Sequence[CloudEvent]], Awaitable[list[Decision]]]
"""Sends events and returns the decisions about them, or, in a dry run, only returns them."""

Ids = Annotated[frozenset[UUID], Field(min_length=1, max_length=100, json_schema_extra=allow_duplicates)]


class SentSelection(ExplicitSelection):
    """Which of the events that were forwarded; every criterion that is given has to fit."""

    ids: Ids | None = None
    type: Name | None = None
    order_id: Name | None = None
    since: Annotated[ClampedTimestamp | None, Field(alias="from")] = None
    until: Annotated[ClampedTimestamp | None, Field(alias="to")] = None
    """Exclusive. What happens after the replay has begun is never replayed."""


class Replay(RequestModel):
    """Which events of which service's event log are to be sent once more, by the routes of now."""

    service: str = "order"
    selection: SentSelection
    dry_run: StrictBool = False
    per_second: PerSecond = None
    wait_seconds: Annotated[float, Field(strict=True, ge=0, le=600)] = 60.0
    """How long the consumers may settle none of the deliveries until they are not waited for any more. A
    delivery to a consumer that dies of it comes to another one 30 seconds later."""


class Replays:
    """Starts replays: one at a time of each service's log."""

    def __init__(
        self, services: Services, operations: Operations, adapter: AdapterClient, held: Held
    ) -> None:
        self._services = services
        self._operations = operations
        self._adapter = adapter
        self._held = held

    async def start(self, replay: Replay, person: Person) -> Operation:
        """What would refuse the replay refuses a dry run too. Raises UnknownService, ServiceUnavailable,
        RequestRejected, Paused, Busy, AuditUnavailable."""
        service = self._services.named(replay.service, person)
        topics = await self._adapter.topics_of(service.name)
        consumers = await Consumers.of(topics, self._services.all(person))
        operation = Operation(
            what="replay",
            who=person.name,
            on=f"{service.name} event log",
            dry_run=replay.dry_run,
            proof=Proof(),
        )
        events = SentEvents(service, replay.selection, operation.began_at)
        decide = partial(self._adapter.evaluate, operator_headers=person.headers)
        replayer = Replayer(
            replay, events, consumers, decide if replay.dry_run else self._adapter.send, self._held
        )
        about = replay.model_dump(
            mode="json", by_alias=True, exclude={"service", "dry_run"}, exclude_none=True
        )
        return await self._operations.start(operation, replayer.replay, **about)


class SentEvents:
    """The selected events of a service's log that were forwarded, and happened before a time. Calls raise
    ServiceUnavailable and RequestRejected."""

    def __init__(self, service: ServiceClient, selection: SentSelection, before: datetime) -> None:
        self._service = service
        bounded = selection.model_copy(update={"until": min(selection.until or before, before)})
        asked = bounded.model_dump(mode="json", by_alias=True, exclude={"all"}, exclude_none=True)
        self._asked = asked | {"decision": "forwarded"}

    async def count(self) -> int:
        answer = await self._service.get("/event-log/count", self._asked)
        events: int = answer["events"]
        return events

    async def pages(self) -> AsyncIterator[list[CloudEvent]]:
        """Oldest first."""
        asked = self._asked | {"oldestFirst": True, "limit": _PAGE}
        while True:
            page = EventLogPage.model_validate(await self._service.get("/event-log", asked))
            yield page.cloud_events(self._service.name)
            if page.next is None:
                return
            asked["after"] = page.next


class Replayer:
    """Does one replay.

    The events go the way that they went before, under the same ids, so that the consumers' inboxes know
    them. That this is so is measured: every delivery is waited for, and what the consumers had stored
    before the first one is compared with what they have after the last one. So it is for a quiet moment;
    whatever else changes the state meanwhile cannot be told apart.
    """

    def __init__(
        self,
        replay: Replay,
        events: SentEvents,
        consumers: Consumers,
        decide: Decide,
        held: Held,
    ) -> None:
        self._replay = replay
        self._events = events
        self._consumers = consumers
        self._decide = decide
        self._held = held
        self._pace = Pace(replay.per_second)
        self._together = _PAGE if replay.per_second is None else 1
        self._deliveries = 0

    async def replay(self, operation: Operation) -> bool:
        """False when it was stopped before its end. Raises ServiceUnavailable and RequestRejected."""
        assert operation.proof is not None
        proof = operation.proof
        operation.expected = await self._events.count()
        if self._replay.dry_run:
            return await self._send_all(operation, proof)
        proof.under_way = await self._held(self._consumers.queues)
        known = await self._consumers.deliveries()
        before = await self._consumers.checksums()
        proof.states = [State(service=name, checksum_before=each.checksum) for name, each in before.items()]
        if not await self._send_all(operation, proof) or not await self._settle(operation, proof, known):
            return False
        after = await self._consumers.checksums()
        proof.states = [State.compared(name, each, after[name]) for name, each in before.items()]
        operation.error = proof.conclude(self._replay.wait_seconds)
        return True

    async def _send_all(self, operation: Operation, proof: Proof) -> bool:
        """False when it was stopped before the last one."""
        async for page in self._events.pages():
            operation.looked_at += len(page)
            for part in batched(page, self._together):
                if not await self._pace.turn(unless=operation.stop):
                    return False
                await self._send(part, operation, proof)
        return True

    async def _send(self, part: Sequence[CloudEvent], operation: Operation, proof: Proof) -> None:
        told = [
            Selected(id=each["id"], event_id=each["id"], type=each["type"], order_id=each["subject"])
            for each in part
        ]
        for one in told:
            operation.select(one)
        for event, one, decided in zip(part, told, await self._decide(part), strict=True):
            proof.count(event["type"], decided.decision, decided.rule)
            if decided.decision == "failed":
                operation.fail(one, decided.error or "not sent")
            elif decided.decision == "forwarded" and not operation.dry_run:
                operation.done += 1
                self._deliveries += self._consumers.deliveries_of(event["type"])

    async def _settle(self, operation: Operation, proof: Proof, known: Deliveries) -> bool:
        """Waits until the consumers have settled every delivery, or none for too long. False when it was
        stopped."""
        clock = asyncio.get_running_loop().time
        pause, ends = _POLL_FIRST, clock() + self._replay.wait_seconds
        while True:
            before = proof.outstanding
            proof.settle((await self._consumers.deliveries()).since(known), self._deliveries)
            if proof.outstanding != before:
                ends = clock() + self._replay.wait_seconds
            if not proof.outstanding or clock() > ends:
                return True
            if await wait_for_event(operation.stop, pause):
                return False
            pause = min(2 * pause, _POLL_MOST)
