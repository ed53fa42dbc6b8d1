"""Domain events: immutable, and named on the wire by their classes."""

from typing import Generic, TypeVar

import pytest
from pydantic import ValidationError
from snsqs import Aggregate, DomainEvent, message_of, sqs_listener
from snsqs.testing import MemoryBroker, run_on_virtual_clock


class Order(Aggregate):
    memo: str = ""


class Invoice(Aggregate):
    total: int = 0


S = TypeVar("S", bound=Aggregate)


class Changed(DomainEvent, Generic[S]):
    source: S


class Archived(DomainEvent, Generic[S]):
    event_type = "archived"
    source: S


class OrderChanged(Changed[Order]): ...


class OrderArchived(Archived[Order]):
    event_type = "order-archived"


class OrderDeleted(OrderArchived): ...


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Changed, "Changed"),
        (Changed[Order], "Changed[Order]"),
        (Changed[Order | Invoice], "Changed[Order | Invoice]"),
        (OrderChanged, "OrderChanged"),
        (Archived, "archived"),
        (Archived[Order], "archived"),
        (OrderArchived, "order-archived"),
        (OrderDeleted, "OrderDeleted"),
    ],
)
def test_the_type_is_named_after_the_class(event: type[DomainEvent], name: str) -> None:
    """A name in the class body replaces it, for the parametrisations of a generic event as well."""
    assert event.event_type == name


def test_local_classes_are_named_without_their_function() -> None:
    """And without their module, also as arguments of a generic event."""

    class Parcel(Aggregate): ...

    assert Changed[Parcel].event_type == "Changed[Parcel]"


def test_generic_events_are_dispatched_by_their_parametrisation() -> None:
    """Each one is an event type of its own, published and handled as any other."""
    handled: list[object] = []
    on_change = sqs_listener("changes", topic="changes")

    @on_change
    async def on_order(event: Changed[Order]) -> None:
        handled.append(event.source)

    @on_change
    async def on_invoices(events: list[Changed[Invoice] | OrderChanged]) -> None:
        handled.extend(event.source for event in events)

    order, invoice = Order(id="1", version=1, memo="red"), Invoice(id="2", version=1, total=3)
    events = (Changed[Order](source=order), Changed[Invoice](source=invoice), OrderChanged(source=order))

    async def program() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_order, on_invoices)
            await broker.topic("changes").send([message_of(event) for event in events])
            await broker.join()

    run_on_virtual_clock(program())
    assert sorted(map(repr, handled)) == sorted(map(repr, [order, invoice, order]))


def test_events_are_immutable() -> None:
    """So they may be shared between listeners."""
    event = Changed[Order](source=Order(id="1", version=1))
    with pytest.raises(ValidationError, match="frozen"):
        event.source = Order(id="2", version=1)  # type: ignore[misc]
