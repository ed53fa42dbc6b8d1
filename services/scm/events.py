"""In-process events of SCM's modules, which know these events and nothing of each other.

The order in which listeners of one event run is irrelevant. A module that depends on the effect of another
one listens to an event that is published after it:

    GoodsOrdered   → fulfilment is stored → FulfilmentOpened    → inventory reserves
    GoodsReserved  → fulfilment is stored → FulfilmentReserved  → delivery issues the invoice
    OrderWithdrawn → fulfilment is stored → FulfilmentWithdrawn → inventory releases, delivery voids
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """Pieces of one article. Within one event each SKU occurs once."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class GoodsOrdered:
    """An order that SCM did not know is paid."""

    order_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class AddressChanged:
    """The order has another delivery address, which the Order service knows."""

    order_id: str


@dataclass(frozen=True)
class OrderWithdrawn:
    """The order is cancelled. Its goods are not delivered unless they have left already."""

    order_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class FulfilmentOpened:
    """The fulfilment of a paid order is stored; its goods can be reserved."""

    order_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class FulfilmentReserved:
    """The reservation is stored in the fulfilment; the delivery invoice can be issued."""

    order_id: str


@dataclass(frozen=True)
class FulfilmentWithdrawn:
    """The fulfilment is cancelled before the dispatch: what was done for it must be undone."""

    order_id: str


@dataclass(frozen=True)
class ReservationBegun:
    """The goods of a new order, or of a waiting one whose goods seem to be in stock, are about to be
    reserved. Published before its articles are locked, so that a listener can do slow work, such as a REST
    call, while no other order waits for them."""

    order_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class GoodsReserved:
    """All goods of the order are reserved."""

    order_id: str


@dataclass(frozen=True)
class GoodsShort:
    """Stock is insufficient: nothing is reserved, and the order waits for the missing goods."""

    order_id: str
    missing: tuple[Line, ...]


@dataclass(frozen=True)
class GoodsReceived:
    """A supplier delivered goods. `reference` names the purchase order and delivery note."""

    lines: tuple[Line, ...]
    reference: str


@dataclass(frozen=True)
class InvoiceIssued:
    """A delivery invoice was issued for the order, with the address of this version of the order."""

    order_id: str
    invoice_id: str
    order_version: int


@dataclass(frozen=True)
class ParcelHandedOver:
    """The carrier has the order's goods: they have left the warehouse."""

    order_id: str
    invoice_id: str


@dataclass(frozen=True)
class ParcelArrived:
    """The buyer has the order's goods."""

    order_id: str
    invoice_id: str
