"""Purchase order: goods ordered from a supplier, its states and transitions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from snsqs import WireModel


class PurchaseError(Exception):
    """Base class of purchase errors."""


class UnknownPurchaseOrder(PurchaseError):
    """No purchase order has this id."""


class NotAllowed(PurchaseError):
    """The state of the purchase order does not allow the step. The message has the reason."""


class PurchaseOrderStatus(StrEnum):
    """RAISED → CONFIRMED → (PARTLY_RECEIVED →) RECEIVED."""

    RAISED = "RAISED"
    CONFIRMED = "CONFIRMED"
    PARTLY_RECEIVED = "PARTLY_RECEIVED"
    RECEIVED = "RECEIVED"


class PurchaseLine(WireModel):
    """Pieces of one article: ordered (`quantity`) and received."""

    sku: str
    quantity: int
    received: int

    @property
    def outstanding(self) -> int:
        """Pieces not received yet."""
        return self.quantity - self.received


class PurchaseOrder(WireModel):
    """Goods ordered from one supplier because one order was short. Immutable."""

    id: int
    order_id: str
    supplier: str
    status: PurchaseOrderStatus
    lines: list[PurchaseLine]
    raised_at: datetime
    confirmed_at: datetime | None
    received_at: datetime | None

    def confirmed(self) -> "PurchaseOrder":
        """Return the purchase order as confirmed; unchanged if it is already."""
        if self.confirmed_at:
            return self
        return self.model_copy(
            update={"status": PurchaseOrderStatus.CONFIRMED, "confirmed_at": datetime.now(UTC)}
        )

    def with_received(self, quantities: Mapping[str, int]) -> "PurchaseOrder":
        """Return the purchase order with more received pieces, by SKU. Raises NotAllowed if it is not
        confirmed, or for goods that were not ordered or are more than outstanding."""
        if not self.confirmed_at:
            raise NotAllowed(
                f"purchase order {self.id} is RAISED; it must be CONFIRMED before goods are received"
            )
        if unknown := quantities.keys() - {line.sku for line in self.lines}:
            raise NotAllowed(f"purchase order {self.id} has no {', '.join(sorted(unknown))}")
        lines = [self._received(line, quantities.get(line.sku, 0)) for line in self.lines]
        if any(line.outstanding for line in lines):
            return self.model_copy(update={"status": PurchaseOrderStatus.PARTLY_RECEIVED, "lines": lines})
        return self.model_copy(
            update={"status": PurchaseOrderStatus.RECEIVED, "lines": lines, "received_at": datetime.now(UTC)}
        )

    def _received(self, line: PurchaseLine, quantity: int) -> PurchaseLine:
        if quantity > line.outstanding:
            raise NotAllowed(
                f"of {line.sku}, {line.outstanding} are outstanding on purchase order {self.id}; "
                f"{quantity} are more than were ordered"
            )
        return line.model_copy(update={"received": line.received + quantity})
