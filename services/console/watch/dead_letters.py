"""DeadLetters: those of one order, for its lineage."""

from services.console.recovery.recovery import Found, Recovery
from services.console.watch.queues import Queues
from shared.operations.selection import Filter

_MOST = 20
"""Of each queue; an order has a few events."""


class DeadLetters:
    """Looks into the dead-letter queues, but only where there is something in them: a look takes a second,
    and meanwhile hides the letters from others."""

    def __init__(self, queues: Queues, recovery: Recovery) -> None:
        self._queues = queues
        self._recovery = recovery

    async def of(self, order_id: str) -> dict[str, Found]:
        """By the queue where they died. Raises what the SDK raises."""
        return {
            depth.queue: await self._recovery.browse(
                depth.queue, Filter.model_validate({"orderId": order_id}), _MOST
            )
            for depth in await self._queues.depths()
            if depth.dead_letters
        }
