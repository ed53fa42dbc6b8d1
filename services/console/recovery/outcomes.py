"""Outcomes: what became of redriven messages, as the instances of their consumer report it."""

import asyncio
from collections.abc import Sequence

from snsqs.background import wait_for_event

from services.console.recovery.operation import Operation, Selected
from services.console.registry import Registry
from shared.operations.progress import ServiceProgress, SettledMessage
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

POLL_INTERVAL = 0.3
"""Seconds. An instance remembers its last 500 outcomes."""

MAX_WAIT = 15.0
"""Seconds without an outcome after which messages count as not settled. A message whose handler fails is
redelivered after a backoff, and may be settled later."""

_FINAL = {"handled", "duplicate", "superseded", "ignored", "dead_letter"}


class Outcomes:
    """Follows the messages that were sent to one queue, without delaying its consumer."""

    def __init__(self, registry: Registry, queue: str, operation: Operation) -> None:
        self._registry = registry
        self._queue = queue
        self._operation = operation
        self._instances: Sequence[ServiceClient] = ()
        self._cursors: dict[str, str] = {}
        self._pending: dict[str, Selected] = {}
        self._polled_at = float("-inf")

    async def begin(self) -> None:
        """Remember the present position of each instance of the queue's consumer."""
        for service in await self._registry.services():
            if any(each.queue == self._queue for each in service.queues):
                self._instances = [self._registry.instance_client(each) for each in service.running]
        await self._poll()

    async def sent(self, messages: Sequence[Selected]) -> None:
        """Follow these messages too. Messages without an event id cannot be recognised."""
        for each in messages:
            if self._instances and each.event_id is not None:
                self._pending[each.event_id] = each
            else:
                self._operation.settle(each, "unknown", None)
        if asyncio.get_running_loop().time() - self._polled_at > POLL_INTERVAL:
            await self._poll()

    async def wait(self) -> None:
        """Return when all messages have an outcome, or none has got one for too long."""
        time = asyncio.get_running_loop().time
        ends = time() + MAX_WAIT
        while self._pending and time() < ends:
            before = len(self._pending)
            await self._poll()
            if len(self._pending) < before:
                ends = time() + MAX_WAIT
            if self._pending and await wait_for_event(self._operation.stop, POLL_INTERVAL):
                break
        for each in self._pending.values():
            self._operation.settle(each, "not_settled", None)

    async def _poll(self) -> None:
        self._polled_at = asyncio.get_running_loop().time()
        polled = await asyncio.gather(*map(self._settled, self._instances))
        for message in (each for of_instance in polled for each in of_instance):
            if message.queue == self._queue and message.outcome in _FINAL:
                pending = self._pending.pop(message.message_id, None)
                if pending is not None:
                    self._operation.settle(pending, message.outcome, message.reason)

    async def _settled(self, instance: ServiceClient) -> list[SettledMessage]:
        """Return what the instance has settled since the last poll; nothing while it does not answer."""
        cursor = self._cursors.get(instance.url)
        try:
            answer = await instance.find("/progress", {"after": [cursor]} if cursor else None)
            progress = ServiceProgress.model_validate(answer)
        except (ServiceUnavailable, ValueError):
            return []
        self._cursors[instance.url] = progress.cursor
        return progress.settled
