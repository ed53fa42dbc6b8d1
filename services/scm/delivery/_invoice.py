"""Delivery invoice: its states and their transitions."""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import computed_field
from snsqs import WireModel


class DeliveryError(Exception):
    """Base class of delivery errors."""


class UnknownInvoice(DeliveryError):
    """No invoice has this id."""


class NotAllowed(DeliveryError):
    """The invoice's status does not allow the step. The message names both."""


class InvoiceStatus(StrEnum):
    """ISSUED → DISPATCHED → DELIVERED; or VOID before the dispatch."""

    ISSUED = "ISSUED"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    VOID = "VOID"


class Invoice(WireModel):
    """Delivery invoice of an order. Immutable. `delivery_address` is a copy of the order's, as JSON."""

    id: uuid.UUID
    order_id: str
    delivery_address: dict[str, Any]
    issued_at: datetime
    voided_at: datetime | None = None
    dispatched_at: datetime | None = None
    delivered_at: datetime | None = None

    @classmethod
    def issued(cls, order_id: str, delivery_address: dict[str, Any]) -> "Invoice":
        """Return a new invoice."""
        return cls(
            id=uuid.uuid4(),
            order_id=order_id,
            delivery_address=delivery_address,
            issued_at=datetime.now(UTC),
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> InvoiceStatus:
        """The last step taken."""
        if self.voided_at:
            return InvoiceStatus.VOID
        if self.delivered_at:
            return InvoiceStatus.DELIVERED
        return InvoiceStatus.DISPATCHED if self.dispatched_at else InvoiceStatus.ISSUED

    def voided(self) -> "Invoice":
        """Return the invoice as void: no goods may be dispatched with it."""
        return self.model_copy(update={"voided_at": datetime.now(UTC)})

    def dispatched(self) -> "Invoice":
        """Return the invoice as dispatched; unchanged if it is already. Raises NotAllowed."""
        self._require_not_void()
        return self if self.dispatched_at else self.model_copy(update={"dispatched_at": datetime.now(UTC)})

    def delivered(self) -> "Invoice":
        """Return the invoice as delivered; unchanged if it is already. Raises NotAllowed."""
        self._require_not_void()
        if not self.dispatched_at:
            raise NotAllowed(f"invoice {self.id} is ISSUED; it must be DISPATCHED to be delivered")
        return self if self.delivered_at else self.model_copy(update={"delivered_at": datetime.now(UTC)})

    def _require_not_void(self) -> None:
        if self.voided_at:
            raise NotAllowed(
                f"invoice {self.id} is VOID since {self.voided_at:%Y-%m-%d %H:%M:%S} UTC: the order was "
                "cancelled, or has a newer invoice with another address"
            )
