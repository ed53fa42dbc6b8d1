"""Fulfilment: the aggregate that SCM publishes. Its id is the order's."""

from enum import StrEnum

from snsqs import Aggregate, DomainEvent, WireModel

from services.scm.events import Line


class FulfilmentStatus(StrEnum):
    """RECEIVED → (SHORT →) RESERVED → INVOICED → DISPATCHED → DELIVERED; or CANCELLED before the dispatch."""

    RECEIVED = "RECEIVED"
    SHORT = "SHORT"
    RESERVED = "RESERVED"
    INVOICED = "INVOICED"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"


class Quantity(WireModel):
    """Pieces of one article."""

    sku: str
    quantity: int


class Fulfilment(Aggregate):
    """State of an order at SCM. Immutable: each change returns a copy whose `version` is greater by one."""

    status: FulfilmentStatus
    lines: list[Quantity]
    shortages: list[Quantity]
    invoice_id: str | None = None
    order_version: int | None = None
    """Version of the order whose delivery address is on the invoice."""

    @classmethod
    def received(cls, order_id: str, lines: tuple[Line, ...]) -> "Fulfilment":
        """Return a new fulfilment, in version 0: it has not been published yet."""
        return cls(
            id=order_id, version=0, status=FulfilmentStatus.RECEIVED, lines=quantities(lines), shortages=[]
        )

    @property
    def has_left(self) -> bool:
        """True once the goods have left the warehouse."""
        return self.status in (FulfilmentStatus.DISPATCHED, FulfilmentStatus.DELIVERED)

    def changed(self, **changes: object) -> "Fulfilment":
        """Return the next version, with these fields changed."""
        return self.model_copy(update={"version": self.version + 1, **changes})


class FulfilmentEvent(DomainEvent):
    """Base class of SCM's published events."""

    source: Fulfilment


class StockReserved(FulfilmentEvent):
    """All goods of the order are reserved."""


class StockShort(FulfilmentEvent):
    """Stock is insufficient; `shortages` has the missing goods."""


class DeliveryInvoiceIssued(FulfilmentEvent):
    """The delivery invoice `invoiceId` was issued; it replaces an earlier one."""


class ParcelDispatched(FulfilmentEvent):
    """The carrier has the goods."""


class ParcelDelivered(FulfilmentEvent):
    """The buyer has the goods."""


class FulfilmentCancelled(FulfilmentEvent):
    """The cancellation is accepted: the stock is released and the invoice void."""


class CancellationRejected(FulfilmentEvent):
    """The cancellation is rejected: the goods have left, as `status` shows."""


PUBLISHED = (
    StockReserved,
    StockShort,
    DeliveryInvoiceIssued,
    ParcelDispatched,
    ParcelDelivered,
    FulfilmentCancelled,
    CancellationRejected,
)
"""All events that SCM publishes to other services."""


def quantities(lines: tuple[Line, ...]) -> list[Quantity]:
    """Return the lines as published in events."""
    return [Quantity(sku=line.sku, quantity=line.quantity) for line in lines]
