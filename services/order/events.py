"""What happens to an order. Each event carries the whole order as it was after the change."""

from snsqs import DomainEvent

from services.order.order import Order


class OrderEvent(DomainEvent):
    """What all of them carry."""

    source: Order


class OrderPlaced(OrderEvent):
    """A buyer placed it. Nobody else's business yet."""


class OrderCompleted(OrderEvent):
    """It is paid: the goods are to be delivered."""


class DeliveryAddressChanged(OrderEvent):
    """Its goods are to go somewhere else."""


class OrderCancelled(OrderEvent):
    """The buyer does not want it any more. It is CANCELLED; or, once it was completed, CANCELLING."""


class MemoWritten(OrderEvent):
    """Somebody wrote a note on it, for the shop's own eyes."""
