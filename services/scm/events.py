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
class GoodsReserved:
    """All goods of the order are set aside."""

    order_id: str


@dataclass(frozen=True)
class GoodsShort:
    """Nothing is set aside for the order, because so many of these are missing."""

    order_id: str
    missing: tuple[Line, ...]


@dataclass(frozen=True)
class InvoiceIssued:
    """The order's goods go to a carrier under this invoice."""

    order_id: str
    invoice_id: str
