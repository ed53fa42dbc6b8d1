"""Fulfilment: the aggregate that SCM publishes. Its id is the order's."""

from enum import StrEnum

from shared.domain_event import Aggregate, DomainEvent, WireModel


class Status(StrEnum):
    """RECEIVED → RESERVED → INVOICED, or RECEIVED → SHORT."""

    RECEIVED = "RECEIVED"
    SHORT = "SHORT"
    RESERVED = "RESERVED"
    INVOICED = "INVOICED"


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
    """The goods go to a carrier under `invoiceId`."""
