"""Bridge: decides on a batch of events, and publishes those that leave."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from snsqs import Message, MessageChannel

from services.adapter.routes import Decision, Routes

_SLICE = 50
"""Events that are evaluated without a pause."""


class Bridge:
    """Takes CloudEvents and publishes to SNS.

    Keeps no state: what cannot be published is answered as failed, and the relay, which owns the event log,
    sends it again.

    `channels` has the channel of each topic of the routes. `record` is called with every decision once it is
    final; it must be quick, and must not raise.
    """

    def __init__(
        self,
        routes: Routes,
        channels: Mapping[str, MessageChannel],
        record: Callable[[Decision], None],
    ) -> None:
        self._routes = routes
        self._channels = channels
        self._record = record

    async def take(self, events: Sequence[object]) -> list[Decision]:
        """Decide on each event, and return when SNS has answered for those that leave.

        The events are parsed JSON; one that is not a CloudEvent fails alone. The decisions are in the order
        of the events.
        """
        decisions = await self._publish([decision async for decision in self._evaluate(events)])
        for decision in decisions:
            self._record(decision)
        return decisions

    async def _evaluate(self, events: Sequence[object]) -> AsyncIterator[Decision]:
        """Yield to the event loop between slices, so that a large batch delays no health check."""
        for number, event in enumerate(events, start=1):
            yield self._routes.evaluate(event)
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    async def _publish(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Publish the outgoing messages, topic by topic, and return the decisions with the results."""
        messages = defaultdict[str, list[Message[str]]](list)
        for decision in decisions:
            if decision.outgoing:
                messages[decision.outgoing.topic].append(decision.outgoing.message)
        async with asyncio.TaskGroup() as group:
            sending = {
                topic: group.create_task(self._channels[topic].try_send(of_topic))
                for topic, of_topic in messages.items()
            }
        results = {topic: iter(task.result()) for topic, task in sending.items()}
        return [
            decision.published(next(results[decision.outgoing.topic])) if decision.outgoing else decision
            for decision in decisions
        ]
