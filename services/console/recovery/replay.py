"""Replay: sends forwarded events once more, and proves that the consumers' state did not change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Annotated

from pydantic import Field, StrictBool
from snsqs.background import wait_for_event
from snsqs.cloudevents import CloudEvent, EventResult
from snsqs.queues import batched

from services.console.queues import QueueFinder
from services.console.recovery.adapter import AdapterClient
from services.console.recovery.consumers import Consumers
from services.console.recovery.operation import Operation, Selected
from services.console.recovery.operations import Operations
from services.console.recovery.proof import Deliveries, Proof, State
from services.console.recovery.rate_limit import PerSecond, RateLimit
from services.console.recovery.services import OperatorIdentity
from services.console.registry import Registry
from shared.operations.event_log_api import EventSelection
from shared.operations.event_search import EventPage
from shared.runtime.service_client import ServiceClient
from shared.web import RequestModel

_PAGE_SIZE = 100
_MIN_POLL, _MAX_POLL = 0.1, 1.6
"""Seconds between two polls, each of which reads the consumers' inboxes from end to end."""


CountMessages = Callable[[Collection[str]], Awaitable[int]]
"""Returns the number of messages in queues of these names."""

Decide = Callable[[Sequence[CloudEvent]], Awaitable[list[EventResult]]]
"""Sends events and returns the decisions about them, or, in a dry run, only returns them."""


class Replay(RequestModel):
    """Request to send events of a service's log once more, by the present routes."""

    service: str = "order"
    selection: EventSelection
    dry_run: StrictBool = False
    per_second: PerSecond = None
    wait_seconds: Annotated[float, Field(strict=True, ge=0, le=600)] = 60.0
    """Longest time without a settled delivery before the wait for consumers ends. A delivery whose consumer
    dies is redelivered after 30 seconds."""


class Replays:
    """Starts replays, one at a time for each service's log."""

    def __init__(
        self,
        registry: Registry,
        queues: QueueFinder,
        operations: Operations,
        adapter: AdapterClient,
        count_messages: CountMessages,
    ) -> None:
        self._registry = registry
        self._queues = queues
        self._operations = operations
        self._adapter = adapter
        self._count_messages = count_messages

    async def start(self, replay: Replay, operator: OperatorIdentity) -> Operation:
        """Start a replay; a dry run is rejected for the same reasons. Raises UnknownService,
        ServiceUnavailable, RequestRejected, Paused, Busy, AuditUnavailable."""
        await self._registry.service(replay.service)
        service = self._registry.client(replay.service).with_headers(operator.headers)
        topics = await self._adapter.topics_of(service.name)
        consumers = await self._consumers(topics, operator)
        operation = Operation(
            what="replay",
            who=operator.name,
            on=f"{service.name} event log",
            dry_run=replay.dry_run,
            proof=Proof(),
        )
        events = SentEvents(service, replay.selection, await last_position(service))
        operation.expected = await events.count()
        decide = self._adapter.evaluate if replay.dry_run else self._adapter.send
        replayer = Replayer(
            replay,
            events,
            consumers,
            partial(decide, operator_headers=operator.headers),
            self._count_messages,
        )
        details = replay.model_dump(
            mode="json", by_alias=True, exclude={"service", "dry_run"}, exclude_none=True
        )
        return await self._operations.start(operation, replayer.replay, **details)

    async def _consumers(self, topics: Collection[str], operator: OperatorIdentity) -> Consumers:
        subscribed = [each.queue.name for each in await self._queues.consumers() if each.topic in topics]

        def client(name: str) -> ServiceClient:
            return self._registry.client(name).with_headers(operator.headers)

        return await Consumers.find(topics, await self._registry.services(), client, subscribed)


async def last_position(service: ServiceClient) -> int:
    """Return the position of the newest event in a service's log, 0 for an empty one. Raises
    ServiceUnavailable and RequestRejected."""
    page = EventPage.model_validate(await service.get("/event-log", {"limit": 1}))
    return page.events[0].position if page.events else 0


class SentEvents:
    """The selected, forwarded events of a service's log up to a position, not to a time: the clocks of the
    service and of the console may differ. Methods raise ServiceUnavailable and RequestRejected."""

    def __init__(self, service: ServiceClient, selection: EventSelection, up_to: int) -> None:
        self._service = service
        query = selection.model_dump(mode="json", by_alias=True, exclude={"all"}, exclude_none=True)
        self._query = query | {"decision": "forwarded", "upTo": up_to}

    async def count(self) -> int:
        answer = await self._service.get("/event-log/count", self._query)
        events: int = answer["events"]
        return events

    async def pages(self) -> AsyncIterator[list[CloudEvent]]:
        """Yield the pages of the log, oldest first."""
        query = self._query | {"oldestFirst": True, "limit": _PAGE_SIZE}
        while True:
            page = EventPage.model_validate(await self._service.get("/event-log", query))
            yield [event.cloud_event(self._service.name) for event in page.events]
            if page.next is None:
                return
            query["after"] = page.next


class Replayer:
    """Performs one replay.

    The events take the same path as before, under the same ids, so that the consumers' inboxes recognise
    them. This is measured: every delivery is awaited, and the consumers' checksums before the first and after
    the last one are compared. Replay when the system is quiet: other changes of the state cannot be told
    apart.
    """

    def __init__(
        self,
        replay: Replay,
        events: SentEvents,
        consumers: Consumers,
        decide: Decide,
        count_messages: CountMessages,
    ) -> None:
        self._replay = replay
        self._events = events
        self._consumers = consumers
        self._decide = decide
        self._count_messages = count_messages
        self._rate_limit = RateLimit(replay.per_second)
        self._batch_size = _PAGE_SIZE if replay.per_second is None else 1
        self._deliveries = 0

    async def replay(self, operation: Operation) -> bool:
        """Return False when it was stopped early. Raises ServiceUnavailable and RequestRejected."""
        assert operation.proof is not None
        proof = operation.proof
        if self._replay.dry_run:
            return await self._send_all(operation, proof)
        proof.under_way = await self._count_messages(self._consumers.queues)
        proof.unchecked = self._consumers.unchecked
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
        """Return False when it was stopped before the last event."""
        async for page in self._events.pages():
            operation.looked_at += len(page)
            for part in batched(page, self._batch_size):
                if not await self._rate_limit.acquire(unless=operation.stop):
                    return False
                await self._send(part, operation, proof)
        return True

    async def _send(self, part: Sequence[CloudEvent], operation: Operation, proof: Proof) -> None:
        selected = [
            Selected(id=each.id, event_id=each.id, type=each.type, order_id=each.subject) for each in part
        ]
        for one in selected:
            operation.select(one)
        for event, one, decided in zip(part, selected, await self._decide(part), strict=True):
            proof.count(event.type, decided.decision, decided.rule)
            if decided.decision == "failed":
                operation.fail(one, decided.error or "not sent")
            elif decided.decision == "forwarded" and not operation.dry_run:
                operation.done += 1
                self._deliveries += self._consumers.deliveries_of(event.type)

    async def _settle(self, operation: Operation, proof: Proof, known: Deliveries) -> bool:
        """Wait until all deliveries are settled, or none for too long. Return False when it was stopped."""
        clock = asyncio.get_running_loop().time
        pause, ends = _MIN_POLL, clock() + self._replay.wait_seconds
        while True:
            before = proof.outstanding
            proof.settle((await self._consumers.deliveries()).since(known), self._deliveries)
            if proof.outstanding != before:
                ends = clock() + self._replay.wait_seconds
            if not proof.outstanding or clock() > ends:
                return True
            if await wait_for_event(operation.stop, pause):
                return False
            pause = min(2 * pause, _MAX_POLL)
