"""Order: the aggregate, its states and their transitions."""

from collections.abc import Container
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints
from snsqs import Aggregate

from services.order.order_id import moment_of
from shared.web import Integral, RequestModel


class OrderError(Exception):
    """Base class of errors of the order aggregate."""


class UnknownOrder(OrderError):
    """No order has this id."""


class NotAllowed(OrderError):
    """The order's status does not allow the transition. The message names both."""


class VersionMismatch(OrderError):
    """The order is at none of the required versions. Read it again before retrying."""


class Status(StrEnum):
    """PLACED → COMPLETED → (BACKORDERED →) PREPARING → SHIPPED → DELIVERED.

    PLACED → CANCELLED; a paid order → CANCELLING, until SCM replies: CANCELLED, or SHIPPED or DELIVERED when
    the goods had already left.
    """

    PLACED = "PLACED"
    COMPLETED = "COMPLETED"
    BACKORDERED = "BACKORDERED"
    PREPARING = "PREPARING"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"


_PAID = (Status.COMPLETED, Status.BACKORDERED, Status.PREPARING)
"""Statuses of a paid order whose goods have not left the warehouse, as far as the Order service knows."""


# PostgreSQL cannot store U+0000; names have no control characters.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100, pattern=_PRINTABLE)]
Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=_PRINTABLE)]
Sku = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Phone = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9+() -]{5,30}$")]
Memo = Annotated[str, StringConstraints(strict=True, max_length=500, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")]
Won = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000), Integral]


class Buyer(RequestModel):
    name: Name
    phone_number: Phone


class DeliveryAddress(RequestModel):
    receiver: Name
    phone_number: Phone
    postal_code: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9 -]{3,12}$")]
    street: Line
    city: Name


class OrderLine(RequestModel):
    sku: Sku
    name: Name
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000), Integral]
    unit_price: Won


class PlaceOrder(RequestModel):
    """Body of the command to place an order. Prices are whole won."""

    buyer: Buyer
    delivery_address: DeliveryAddress
    order_lines: Annotated[list[OrderLine], Field(min_length=1, max_length=100)]


class Order(Aggregate):
    """An order. Immutable: each transition returns a copy whose `version` is greater by one."""

    status: Status
    buyer: Buyer
    delivery_address: DeliveryAddress
    order_lines: list[OrderLine]
    total_price: int
    """Whole won: the sum of quantity and unit price over all lines."""
    memo: str | None = None
    invoice_id: str | None = None
    """The delivery invoice that SCM issued for this order."""
    placed_at: datetime
    completed_at: datetime | None = None

    @classmethod
    def placed(cls, order_id: str, command: PlaceOrder) -> "Order":
        """Return a new order in its first version, placed at the time that the id names."""
        return cls(
            id=order_id,
            version=1,
            status=Status.PLACED,
            buyer=command.buyer,
            delivery_address=command.delivery_address,
            order_lines=command.order_lines,
            total_price=sum(line.quantity * line.unit_price for line in command.order_lines),
            placed_at=moment_of(order_id),
        )

    def with_id(self, order_id: str) -> "Order":
        """Return the order under another id, and with the time of placing that the id names."""
        return self.model_copy(update={"id": order_id, "placed_at": moment_of(order_id)})

    def require_version(self, versions: Container[int] | None) -> None:
        """Raise VersionMismatch unless the order is at one of the versions. None accepts any."""
        if versions is not None and self.version not in versions:
            raise VersionMismatch(
                f"order {self.id} is at version {self.version}, which the request's precondition excludes"
            )

    def completed(self) -> "Order":
        """Return the order as paid. Raises NotAllowed unless it is PLACED."""
        self._require_status(Status.PLACED, to="be completed")
        return self._changed(status=Status.COMPLETED, completed_at=datetime.now(UTC))

    def cancelled(self) -> "Order":
        """Return the order as CANCELLED; a paid one as CANCELLING, because SCM decides. Raises NotAllowed."""
        self._require_status(Status.PLACED, *_PAID, to="be cancelled")
        is_paid = self.status is not Status.PLACED
        return self._changed(status=Status.CANCELLING if is_paid else Status.CANCELLED)

    def readdressed(self, address: DeliveryAddress) -> "Order":
        """Return the order with another delivery address. Raises NotAllowed once the goods have left."""
        self._require_status(Status.PLACED, *_PAID, to="go to another address")
        return self._changed(delivery_address=address)

    def with_memo(self, memo: str) -> "Order":
        """Return the order with another memo. Raises NotAllowed when it is CANCELLED."""
        if self.status is Status.CANCELLED:
            raise NotAllowed(f"order {self.id} is CANCELLED; a memo can no longer be written")
        return self._changed(memo=memo)

    def apply_fulfilment(
        self, status: Status, invoice_id: str | None, shipped_to: DeliveryAddress | None = None
    ) -> "Order":
        """Return the order with the state of SCM's fulfilment; the order itself when nothing changes.

        `status` is the order's status for the fulfilment's, `shipped_to` the address of goods that have left.
        While the order is CANCELLING, a fulfilment that is still in preparation changes the invoice only.
        Raises NotAllowed when the order is not paid or in a final state.
        """
        if self.status is Status.CANCELLING and status in _PAID:
            status = self.status
        address = shipped_to or self.delivery_address
        if (self.status, self.invoice_id, self.delivery_address) == (status, invoice_id, address):
            return self
        is_with_scm = self.status in (*_PAID, Status.CANCELLING)
        if not is_with_scm and (self.status, status) != (Status.SHIPPED, Status.DELIVERED):
            raise NotAllowed(f"order {self.id} is {self.status}; SCM cannot make it {status}")
        return self._changed(status=status, invoice_id=invoice_id, delivery_address=address)

    def _require_status(self, *allowed: Status, to: str) -> None:
        if self.status not in allowed:
            *others, last = allowed
            needed = f"{', '.join(others)} or {last}" if others else last
            raise NotAllowed(f"order {self.id} is {self.status}; it must be {needed} to {to}")

    def _changed(self, **changes: object) -> "Order":
        return self.model_copy(update={"version": self.version + 1, **changes})
