"""Stores of SCM: every field of an aggregate is stored."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel
from snsqs.postgres import Database

from services.scm.delivery import Invoice
from services.scm.delivery import _store as invoices
from services.scm.fulfilment import Fulfilment, FulfilmentStatus, Quantity
from services.scm.fulfilment import _store as fulfilments
from services.scm.purchase import PurchaseOrder
from tests.scm.warehouse import Warehouse

COLUMNS = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1"

ORDER_ID = "20210717235959000000"


@pytest.fixture
def database(warehouse: Warehouse) -> Database:
    return warehouse.database


@pytest.mark.parametrize(
    ("model", "table", "renamed"),
    [
        (Fulfilment, "fulfilment", {"id": "order_id"}),
        (Invoice, "invoice", {}),
        (PurchaseOrder, "purchase_order", {}),
    ],
)
async def test_every_field_has_a_column(
    database: Database, model: type[BaseModel], table: str, renamed: dict[str, str]
) -> None:
    """A field without a column could not be stored, a column without a field would never be read."""
    async with database.connection() as connection:
        columns = {row["column_name"] for row in await connection.fetch(COLUMNS, table)}
    fields = {renamed.get(name, name) for name in model.model_fields}
    assert not fields - columns, (
        f"no column in `{table}` for {', '.join(sorted(fields - columns))} of {model.__name__}: add a "
        "migration in services/scm/migrations"
    )
    assert not columns - fields, (
        f"no field of {model.__name__} for the column {', '.join(sorted(columns - fields))} of `{table}`: "
        "add it, or drop the column in a migration"
    )


def assert_all_differ(before: BaseModel, after: BaseModel, *, but: set[str]) -> None:
    fields = type(before).model_fields
    unchanged = {name for name in fields if getattr(before, name) == getattr(after, name)}
    assert unchanged == but, f"give the new field {unchanged - but} another value in this test"


async def test_every_field_of_a_fulfilment_is_stored(database: Database) -> None:
    """Inserted and updated, with a value in each field."""
    received = Fulfilment.received(ORDER_ID, ())
    changed = received.changed(
        status=FulfilmentStatus.SHORT,
        lines=[Quantity(sku="mug", quantity=2)],
        shortages=[Quantity(sku="mug", quantity=1)],
        invoice_id="an-invoice",
        order_version=3,
    )
    assert_all_differ(received, changed, but={"id"})
    async with database.transaction() as tx:
        await fulfilments.insert(tx.connection, received)
        assert await fulfilments.find(tx.connection, ORDER_ID) == received
        await fulfilments.update(tx.connection, changed)
        assert await fulfilments.find(tx.connection, ORDER_ID) == changed


async def test_every_field_of_an_invoice_is_stored(database: Database) -> None:
    """Issued with an address; its later steps are updates."""
    issued = Invoice.issued(ORDER_ID, {"city": "Seoul"})
    later = datetime.now(UTC) + timedelta(hours=1)
    delivered = issued.model_copy(update={"dispatched_at": later, "delivered_at": later})
    void = issued.voided()
    assert_all_differ(issued, delivered, but={"id", "order_id", "delivery_address", "issued_at", "voided_at"})
    async with database.transaction() as tx:
        await invoices.insert(tx.connection, issued)
        assert await invoices.find(tx.connection, issued.id) == issued
        await invoices.update(tx.connection, delivered)
        assert await invoices.find(tx.connection, issued.id) == delivered
        await invoices.update(tx.connection, void)
        assert await invoices.find(tx.connection, issued.id) == void
