"""Invoice: the paper under which an order's goods travel, and what may become of it when."""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import computed_field
from snsqs import WireModel


class DeliveryError(Exception):
    """The root of what delivery refuses."""


class UnknownInvoice(DeliveryError):
    """There is no invoice with this id."""


class NotAllowed(DeliveryError):
    """What became of the invoice does not allow this step. The message says what that is."""


class Status(StrEnum):
    """ISSUED → DISPATCHED → DELIVERED; or VOID before it was dispatched."""

    ISSUED = "ISSUED"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    VOID = "VOID"


class Invoice(WireModel):
    """A delivery invoice: which order's goods go where, and how far they are."""

    id: uuid.UUID
    order_id: str
    delivery_address: dict[str, Any]
    issued_at: datetime
    voided_at: datetime | None = None
    dispatched_at: datetime | None = None
    delivered_at: datetime | None = None

    @classmethod
    def issued(cls, order_id: str, delivery_address: dict[str, Any]) -> "Invoice":
        return cls(
            id=uuid.uuid4(),
            order_id=order_id,
            delivery_address=delivery_address,
            issued_at=datetime.now(UTC),
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> Status:
        """What happened to it last."""
        if self.voided_at:
            return Status.VOID
        if self.delivered_at:
            return Status.DELIVERED
        return Status.DISPATCHED if self.dispatched_at else Status.ISSUED

    def voided(self) -> "Invoice":
        """Nothing may travel under it any more."""
        return self.model_copy(update={"voided_at": datetime.now(UTC)})

    def dispatched(self) -> "Invoice":
        """The carrier has the goods; said again, it stays as it is. Raises NotAllowed."""
        self._must_not_be_void()
        return self if self.dispatched_at else self.model_copy(update={"dispatched_at": datetime.now(UTC)})

    def delivered(self) -> "Invoice":
        """The buyer has the goods; said again, it stays as it is. Raises NotAllowed."""
        self._must_not_be_void()
        if not self.dispatched_at:
            raise NotAllowed(f"invoice {self.id} is ISSUED; it must be DISPATCHED to be delivered")
        return self if self.delivered_at else self.model_copy(update={"delivered_at": datetime.now(UTC)})

    def _must_not_be_void(self) -> None:
        if self.voided_at:
            raise NotAllowed(
                f"invoice {self.id} is VOID since {self.voided_at:%Y-%m-%d %H:%M:%S} UTC: the order was "
                "cancelled, or goes to another address under a newer invoice"
            )
