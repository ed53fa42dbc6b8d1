"""Fulfilment: the aggregate that SCM publishes. Its id is the order's."""

from enum import StrEnum

from snsqs import Aggregate, DomainEvent, WireModel

from services.scm.events import Line


class Status(StrEnum):
    """RECEIVED → (SHORT →) RESERVED → INVOICED → DISPATCHED → DELIVERED; or CANCELLED before a carrier had
    the goods."""

    RECEIVED = "RECEIVED"
    SHORT = "SHORT"
    RESERVED = "RESERVED"
    INVOICED = "INVOICED"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"


class Quantity(WireModel):
    """So many of one article."""

    sku: str
    quantity: int


class Fulfilment(Aggregate):
    """How far SCM is with an order. `version` grows by one with every change."""

    status: Status
    lines: list[Quantity]
    shortages: list[Quantity]
    invoice_id: str | None = None
    order_version: int | None = None
    """Of the order when it was asked where the goods of this invoice are to go."""

    @classmethod
    def received(cls, order_id: str, lines: tuple[Line, ...]) -> "Fulfilment":
        """SCM has heard of the order, and nothing else yet: there is nothing to publish."""
        return cls(id=order_id, version=0, status=Status.RECEIVED, lines=quantities(lines), shortages=[])

    @property
    def has_left(self) -> bool:
        """A carrier has the goods, or the buyer."""
        return self.status in (Status.DISPATCHED, Status.DELIVERED)

    def changed(self, **changes: object) -> "Fulfilment":
        return self.model_copy(update={"version": self.version + 1, **changes})


class FulfilmentEvent(DomainEvent):
    """What all of them carry."""

    source: Fulfilment


class StockReserved(FulfilmentEvent):
    """All goods of the order are set aside."""


class StockShort(FulfilmentEvent):
    """Not all goods of the order are there; `shortages` says what is missing."""


class DeliveryInvoiceIssued(FulfilmentEvent):
    """The goods go to a carrier under `invoiceId`, which takes the place of an earlier one."""


class ParcelDispatched(FulfilmentEvent):
    """A carrier has the goods."""


class ParcelDelivered(FulfilmentEvent):
    """The buyer has the goods."""


class FulfilmentCancelled(FulfilmentEvent):
    """Nothing is delivered: what was set aside is free again, and there is no invoice."""


class CancellationRejected(FulfilmentEvent):
    """The order was cancelled too late; `status` says how far the goods are."""


def quantities(lines: tuple[Line, ...]) -> list[Quantity]:
    return [Quantity(sku=line.sku, quantity=line.quantity) for line in lines]
