"""Order check: compares an order with the Order service before goods are reserved or bought for it."""

from collections import Counter

from snsqs import TerminalError
from snsqs.postgres import Transaction

from services.scm.events import ReservationBegun
from services.scm.order_client import CurrentOrder, OrderClient


class OrderMismatch(TerminalError):
    """The Order service has the order, but not as the message describes it. The message names the
    difference."""


class OrderCheck:
    """ApplicationListener that lets an order pass only if the Order service has it, paid and with the same
    lines. Otherwise a forged message would make SCM buy or deliver goods."""

    def __init__(self, order_client: OrderClient) -> None:
        self._order_client = order_client

    async def on_application_event(self, event: ReservationBegun, tx: Transaction) -> None:
        """Raises UnknownOrder, OrderMismatch, Unavailable."""
        order = await self._order_client.order_in(tx, event.order_id)
        if order.completed_at is None:
            raise OrderMismatch(f"order {order.id} is not paid")
        if _quantities(order) != {line.sku: line.quantity for line in event.lines}:
            raise OrderMismatch(f"order {order.id} has other lines at the order service")


def _quantities(order: CurrentOrder) -> dict[str, int]:
    """Return the pieces of each article; an order may have several lines of it."""
    quantities = Counter[str]()
    for line in order.order_lines:
        quantities[line.sku] += line.quantity
    return dict(quantities)
