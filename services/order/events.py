"""Domain events of the Order service. Each carries the whole order as it is after the change."""

from snsqs import DomainEvent

from services.order.order import Order


class OrderEvent(DomainEvent):
    """Base class of order events."""

    source: Order


class OrderPlaced(OrderEvent):
    """A buyer placed the order. Not forwarded to other services."""


class OrderCompleted(OrderEvent):
    """The order is paid; its goods can be delivered."""


class DeliveryAddressChanged(OrderEvent):
    """The order has another delivery address."""


class OrderCancelled(OrderEvent):
    """The buyer cancelled the order: it is CANCELLED, or CANCELLING if it was paid before."""


class MemoWritten(OrderEvent):
    """The order's memo was replaced. Not forwarded to other services."""


PUBLISHED = (OrderPlaced, OrderCompleted, DeliveryAddressChanged, OrderCancelled, MemoWritten)
"""All events of this service."""
