"""Order: the aggregate, its states, and what may be done to it when."""

from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints
from snsqs import Aggregate

from services.order.order_id import moment_of
from shared.web.request import Integral, RequestModel


class OrderError(Exception):
    """The root of what an order refuses."""


class UnknownOrder(OrderError):
    """There is no order with this id."""


class NotAllowed(OrderError):
    """The order's status does not allow the command. The message names both."""


class VersionMismatch(OrderError):
    """The order has changed since the client read it. Read it again, and decide again."""


class Status(StrEnum):
    """PLACED → COMPLETED → (BACKORDERED →) PREPARING → SHIPPED → DELIVERED.

    PLACED → CANCELLED at once; once it is paid → CANCELLING, until SCM answers: CANCELLED, or what became
    of goods that had already left.
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
"""SCM works on it, and as far as the Order service knows nothing has left the warehouse."""


# PostgreSQL cannot store U+0000, and nobody's name has a control character in it.
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
    """The command of a buyer. Prices are whole won."""

    buyer: Buyer
    delivery_address: DeliveryAddress
    order_lines: Annotated[list[OrderLine], Field(min_length=1, max_length=100)]


class Order(Aggregate):
    """An order as it is now. `version` grows by one with every change."""

    status: Status
    buyer: Buyer
    delivery_address: DeliveryAddress
    order_lines: list[OrderLine]
    total_price: int
    """Whole won, computed here."""
    memo: str | None = None
    invoice_id: str | None = None
    """The delivery invoice that SCM issued for this order."""
    placed_at: datetime
    completed_at: datetime | None = None

    @classmethod
    def placed(cls, order_id: str, command: PlaceOrder) -> "Order":
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

    def under(self, order_id: str) -> "Order":
        """The same, placed a little later, because its id is taken."""
        return self.model_copy(update={"id": order_id, "placed_at": moment_of(order_id)})

    def must_be_at(self, versions: Collection[int] | None) -> None:
        """None is for whoever does not mind. Raises VersionMismatch."""
        if versions is not None and self.version not in versions:
            raise VersionMismatch(
                f"order {self.id} is at version {self.version}, which If-Match does not name"
            )

    def completed(self) -> "Order":
        """The buyer has paid."""
        self._must_be(Status.PLACED, to="be completed")
        return self._changed(status=Status.COMPLETED, completed_at=datetime.now(UTC))

    def cancelled(self) -> "Order":
        """At once, as long as nobody else works on it; else SCM has the last word, and answers."""
        self._must_be(Status.PLACED, *_PAID, to="be cancelled")
        is_ours_alone = self.status is Status.PLACED
        return self._changed(status=Status.CANCELLED if is_ours_alone else Status.CANCELLING)

    def sent_to(self, address: DeliveryAddress) -> "Order":
        """The goods are to go somewhere else."""
        self._must_be(Status.PLACED, *_PAID, to="go to another address")
        return self._changed(delivery_address=address)

    def with_memo(self, memo: str) -> "Order":
        if self.status is Status.CANCELLED:
            raise NotAllowed(f"order {self.id} is CANCELLED; a memo can no longer be written")
        return self._changed(memo=memo)

    def moved_by_scm(
        self, status: Status, invoice_id: str | None, went_to: DeliveryAddress | None = None
    ) -> "Order":
        """SCM says how far it is, under which delivery invoice, and where the goods went once they have left.
        Returns the order itself when it is so already.

        While SCM has not answered a cancellation, what it prepared before it heard of that is noted and
        moves nothing. Raises NotAllowed when SCM can have nothing to say: the order is not paid, or is at
        its end.
        """
        if self.status is Status.CANCELLING and status in _PAID:
            status = self.status
        address = went_to or self.delivery_address
        if (self.status, self.invoice_id, self.delivery_address) == (status, invoice_id, address):
            return self
        is_with_scm = self.status in (*_PAID, Status.CANCELLING)
        if not is_with_scm and (self.status, status) != (Status.SHIPPED, Status.DELIVERED):
            raise NotAllowed(f"order {self.id} is {self.status}; SCM cannot make it {status}")
        return self._changed(status=status, invoice_id=invoice_id, delivery_address=address)

    def _must_be(self, *allowed: Status, to: str) -> None:
        if self.status not in allowed:
            *others, last = allowed
            needed = f"{', '.join(others)} or {last}" if others else last
            raise NotAllowed(f"order {self.id} is {self.status}; it must be {needed} to {to}")

    def _changed(self, **changes: object) -> "Order":
        return self.model_copy(update={"version": self.version + 1, **changes})
