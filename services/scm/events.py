"""What SCM's modules tell each other, in process. They know these events, and nothing of each other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """So many of one article."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class GoodsOrdered:
    """An order is paid, and its goods are to be delivered."""

    order_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class AddressChanged:
    """The order's goods are to go somewhere else; where is for the Order service to say."""

    order_id: str


@dataclass(frozen=True)
class OrderWithdrawn:
    """The order's goods are not to be delivered any more, if they have not left yet."""

    order_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class FulfilmentWithdrawn:
    """SCM delivers nothing for the order: what was done for it is undone."""

    order_id: str


@dataclass(frozen=True)
class GoodsFound:
    """There seem to be goods for all of the order, and they are to be set aside next. What takes long is done
    now: afterwards, everybody who wants one of these articles waits for it."""

    order_id: str


@dataclass(frozen=True)
class GoodsReserved:
    """All goods of the order are set aside."""

    order_id: str


@dataclass(frozen=True)
class GoodsShort:
    """Nothing is set aside for the order, because so many of these are missing."""

    order_id: str
    missing: tuple[Line, ...]


@dataclass(frozen=True)
class GoodsReceived:
    """A supplier brought these; the reference is what they came under."""

    lines: tuple[Line, ...]
    reference: str


@dataclass(frozen=True)
class InvoiceIssued:
    """The order's goods go to a carrier under this invoice, to the address that this version of it has."""

    order_id: str
    invoice_id: str
    order_version: int


@dataclass(frozen=True)
class ParcelHandedOver:
    """The carrier has taken the order's goods: they have left the warehouse."""

    order_id: str
    invoice_id: str


@dataclass(frozen=True)
class ParcelArrived:
    """The buyer has the order's goods."""

    order_id: str
    invoice_id: str
