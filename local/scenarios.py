"""The scenarios of the demo: eight orders that take every way through the system."""

from local.order import ORDER
from local.scenario import Check, Condition, OrderState, Scenario, Step

NEW_ADDRESS = ORDER["deliveryAddress"] | {"postalCode": "48058", "street": "55 Centum-ro", "city": "Busan"}


def has_status(status: str) -> Condition:
    return lambda state: state.status == status


def is_invoiced(state: OrderState) -> bool:
    """PREPARING, with the invoice: the order is PREPARING a moment before it knows its invoice."""
    return state.status == "PREPARING" and state.order["invoiceId"] is not None


def is_purchased(state: OrderState) -> bool:
    """BACKORDERED, with the purchase order for what is missing."""
    return state.status == "BACKORDERED" and bool(state.purchase_orders)


_PAY = Step("customer", "complete", has_status("PLACED"))
_DISPATCH = Step("carrier", "dispatched", is_invoiced)


def scenarios() -> list[Scenario]:
    return [
        Scenario("two mugs", "cyan", {"MUG-01": 2}, [_PAY], _invoiced("PREPARING")),
        Scenario(
            "three trays",
            "blue",
            {"TRAY-03": 3},
            [_PAY, _DISPATCH, Step("carrier", "delivered", has_status("SHIPPED"))],
            _invoiced("DELIVERED"),
        ),
        Scenario(
            "nine lamps",
            "red",
            {"LAMP-04": 9},
            [_PAY, Step("supplier", "goods", is_purchased)],
            [
                *_invoiced("PREPARING"),
                Check("was short, and served when the supplier had delivered", _was_short),
            ],
        ),
        Scenario(
            "moved house",
            "green",
            {"TEAPOT-02": 1, "MUG-01": 4},
            [_PAY, Step("customer", "delivery-address", is_invoiced)],
            [
                *_invoiced("PREPARING"),
                Check("the first invoice is void, the new one has the new address", _is_readdressed),
            ],
        ),
        Scenario(
            "cancelled unpaid",
            "yellow",
            {"MUG-01": 1},
            [Step("customer", "cancel", has_status("PLACED"))],
            _held_back("CANCELLED"),
        ),
        Scenario(
            "cancelled paid",
            "bright_yellow",
            {"MUG-01": 3},
            [_PAY, Step("customer", "cancel", is_invoiced)],
            [
                _is("CANCELLED"),
                Check("has no live invoice", lambda state: not state.live_invoices),
                Check("its invoice is void, its goods are free", _is_released),
            ],
        ),
        Scenario(
            "cancelled late",
            "bright_red",
            {"TEAPOT-02": 2},
            [_PAY, _DISPATCH, Step("customer", "cancel", is_invoiced, may_conflict=True)],
            [
                *_invoiced("SHIPPED"),
                Check("the parcel was faster, so the cancellation was rejected", _cancellation_failed),
            ],
        ),
        Scenario(
            "commented on",
            "magenta",
            {"TEAPOT-02": 1},
            [Step("customer", "memo", has_status("PLACED"))],
            _held_back("PLACED"),
        ),
    ]


def _is(status: str) -> Check:
    return Check(f"is {status}", has_status(status))


def _invoiced(status: str) -> list[Check]:
    return [_is(status), Check("has 1 live invoice", lambda state: len(state.live_invoices) == 1)]


def _held_back(status: str) -> list[Check]:
    return [
        _is(status),
        Check("SCM does not know it", lambda state: state.fulfilment is None),
        Check("its events were held back", lambda state: state.decisions == {"held_back"}),
    ]


def _was_short(state: OrderState) -> bool:
    return "StockShort" in state.replies


def _is_readdressed(state: OrderState) -> bool:
    addresses = [invoice["deliveryAddress"]["street"] for invoice in state.live_invoices]
    return len(state.invoices) == 2 and addresses == [NEW_ADDRESS["street"]]


def _is_released(state: OrderState) -> bool:
    reservations = state.fulfilment["reservations"] if state.fulfilment else []
    released = [reservation["status"] for reservation in reservations] == ["RELEASED"]
    return released and [invoice["status"] for invoice in state.invoices] == ["VOID"]


def _cancellation_failed(state: OrderState) -> bool:
    """By SCM; or by Order, if it knew of the dispatch before the cancellation came."""
    return "CancellationRejected" in state.replies or "OrderCancelled" not in state.event_types
