"""Purchase order: what was ordered of a supplier, and how much of it has come."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from snsqs import WireModel


class PurchaseError(Exception):
    """The root of what purchase refuses."""


class UnknownPurchaseOrder(PurchaseError):
    """There is no purchase order with this id."""


class NotAllowed(PurchaseError):
    """The purchase order, as it is, does not allow this step. The message says why not."""


class Status(StrEnum):
    """RAISED → CONFIRMED → (PARTLY_RECEIVED →) RECEIVED."""

    RAISED = "RAISED"
    CONFIRMED = "CONFIRMED"
    PARTLY_RECEIVED = "PARTLY_RECEIVED"
    RECEIVED = "RECEIVED"


class PurchaseLine(WireModel):
    """So many of one article were ordered, and so many have come."""

    sku: str
    quantity: int
    received: int

    @property
    def to_come(self) -> int:
        return self.quantity - self.received


class PurchaseOrder(WireModel):
    """What one supplier is to bring, because one order was short of it."""

    id: int
    order_id: str
    supplier: str
    status: Status
    lines: list[PurchaseLine]
    raised_at: datetime
    confirmed_at: datetime | None
    received_at: datetime | None

    def confirmed(self) -> "PurchaseOrder":
        """The supplier will deliver; said again, it stays as it is."""
        if self.confirmed_at:
            return self
        return self.model_copy(update={"status": Status.CONFIRMED, "confirmed_at": datetime.now(UTC)})

    def with_received(self, quantities: Mapping[str, int]) -> "PurchaseOrder":
        """More of it has come. Raises NotAllowed."""
        if not self.confirmed_at:
            raise NotAllowed(
                f"purchase order {self.id} is RAISED; it must be CONFIRMED before goods are received"
            )
        if unknown := quantities.keys() - {line.sku for line in self.lines}:
            raise NotAllowed(f"purchase order {self.id} has no {', '.join(sorted(unknown))}")
        lines = [self._received(line, quantities.get(line.sku, 0)) for line in self.lines]
        if any(line.to_come for line in lines):
            return self.model_copy(update={"status": Status.PARTLY_RECEIVED, "lines": lines})
        return self.model_copy(
            update={"status": Status.RECEIVED, "lines": lines, "received_at": datetime.now(UTC)}
        )

    def _received(self, line: PurchaseLine, quantity: int) -> PurchaseLine:
        if quantity > line.to_come:
            raise NotAllowed(
                f"of {line.sku}, {line.to_come} are still to come on purchase order {self.id}; "
                f"{quantity} are more than were ordered"
            )
        return line.model_copy(update={"received": line.received + quantity})
