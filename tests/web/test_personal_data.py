"""Access to personal data outside development, and tokens of carriers and suppliers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from services.order.main import create_app as create_order
from services.order.settings import Settings as OrderSettings
from services.scm.main import create_app as create_scm
from services.scm.settings import Settings as ScmSettings
from shared.runtime.tokens import NamedToken, bearer
from tests.order.test_api import ORDER
from tests.serving import DOWN, Served, order_service, scm_service, serving

Tokens = tuple[NamedToken, ...]


def named(*names: str) -> Tokens:
    return tuple(NamedToken(name, SecretStr(f"the-token-of-{name}")) for name in names)


def headers(name: str) -> dict[str, str]:
    return bearer(SecretStr(f"the-token-of-{name}"))


SERVICE, OPERATOR = headers("scm"), headers("kim")
CARRIER, SUPPLIER, OTHER_SUPPLIER = headers("dhl"), headers("potter"), headers("weaver")

PRODUCTION: dict[str, Any] = {
    "environment": "production",
    "service_token": SecretStr("the-token-of-order"),
    "service_tokens": named("scm"),
    "operator_tokens": named("kim"),
}
ORDER_ID = "20210717235959000000"


@pytest.fixture
async def production_order(order_database: str, aws_url: str) -> AsyncIterator[Served]:
    """The Order service in production; in development it has created its queues before."""
    async with order_service(order_database, aws_url, DOWN):
        pass
    settings = OrderSettings(
        database_url=order_database, adapter_url=DOWN, aws_endpoint_url=aws_url, **PRODUCTION
    )
    async with serving(create_order(settings)) as served:
        yield served


@pytest.fixture
async def production_scm(scm_database: str, aws_url: str) -> AsyncIterator[Served]:
    """The SCM service in production, with tokens of partners."""
    async with scm_service(scm_database, aws_url, DOWN, DOWN):
        pass
    settings = ScmSettings(
        database_url=scm_database,
        adapter_url=DOWN,
        order_url=DOWN,
        aws_endpoint_url=aws_url,
        carrier_tokens=named("dhl"),
        supplier_tokens=named("potter", "weaver"),
        **PRODUCTION,
    )
    async with serving(create_scm(settings)) as served:
        yield served


async def status(
    service: Served, method: str, path: str, headers: dict[str, str], body: object = None
) -> int:
    answer = await service.http.request(method, path, headers=headers, json=body)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code


async def test_orders_are_read_with_a_token_only(production_order: Served) -> None:
    """401 without; so are commands, whose response is the order. Everyone may place one."""
    placed = await production_order.http.post("/orders", json=ORDER)
    assert (placed.status_code, placed.headers["cache-control"]) == (201, "no-store")
    path = f"/orders/{placed.json()['id']}"
    address = ORDER["deliveryAddress"]
    for method, each, body in [
        ("GET", "/orders", None),
        ("HEAD", "/orders", None),
        ("GET", path, None),
        ("GET", "/event-log", None),
        ("GET", "/parked", None),
        ("GET", "/reconciliation", None),
        ("PUT", f"{path}/memo", {"memo": "ring twice"}),
        ("PUT", f"{path}/delivery-address", address),
        ("POST", f"{path}/complete", None),
    ]:
        assert (each, await status(production_order, method, each, {}, body)) == (each, 401)
        assert (each, await status(production_order, method, each, CARRIER, body)) == (each, 401)
        for known in (SERVICE, OPERATOR):
            assert (each, await status(production_order, method, each, known, body)) in (
                (each, 200),
                (each, 409),
            )


async def test_invoices_are_read_with_a_token_only(production_scm: Served) -> None:
    """They have the address: 401 without a token."""
    for path in (f"/orders/{ORDER_ID}", f"/external-api/invoices?orderId={ORDER_ID}", "/reconciliation"):
        assert (path, await status(production_scm, "GET", path, {})) == (path, 401)
        for known in (SERVICE, OPERATOR):
            assert await status(production_scm, "GET", path, known) in (200, 404)


CARRIERS = [
    ("GET", f"/external-api/invoices?orderId={ORDER_ID}", 200),
    ("POST", "/external-api/invoices/00000000-0000-0000-0000-000000000001/dispatched", 404),
    ("POST", "/external-api/invoices/00000000-0000-0000-0000-000000000001/delivered", 404),
]
SUPPLIERS = [
    ("GET", "/partner-office/purchase-orders", 200),
    ("GET", "/partner-office/purchase-orders/1", 404),
    ("POST", "/partner-office/purchase-orders/1/confirm", 404),
    ("POST", "/partner-office/purchase-orders/1/receive", 404),
]
OTHERS = [
    ("GET", f"/orders/{ORDER_ID}", 404),
    ("GET", "/event-log", 200),
    ("PUT", "/back-office/stock/MUG-01", 200),
    ("PUT", "/back-office/supplies/MUG-01", 200),
    ("GET", "/reconciliation", 200),
]
BODIES = {
    "/partner-office/purchase-orders/1/receive": {
        "deliveryNote": "1",
        "lines": [{"sku": "MUG-01", "quantity": 1}],
    },
    "/back-office/stock/MUG-01": {"onHand": 1},
    "/back-office/supplies/MUG-01": {"supplier": "potter"},
}


@pytest.mark.parametrize(
    ("token", "own", "foreign"),
    [
        (CARRIER, CARRIERS, [*SUPPLIERS, *OTHERS]),
        (SUPPLIER, SUPPLIERS, [*CARRIERS, *OTHERS]),
        (OPERATOR, [*CARRIERS, *SUPPLIERS, *OTHERS], []),
    ],
    ids=["carrier", "supplier", "operator"],
)
async def test_partners_use_their_own_endpoints_only(
    production_scm: Served,
    token: dict[str, str],
    own: list[tuple[str, str, int]],
    foreign: list[tuple[str, str, int]],
) -> None:
    """403 for any other one; an operator may act for each of them."""
    for method, path, expected in own:
        assert (path, await status(production_scm, method, path, token, BODIES.get(path))) == (path, expected)
    for method, path, _ in foreign:
        assert (path, await status(production_scm, method, path, token, BODIES.get(path))) == (path, 403)


async def test_a_supplier_has_its_own_purchase_orders_only(production_scm: Served) -> None:
    """The others do not exist for it, and it cannot change them."""
    async with production_scm.database.connection() as connection:
        own = await connection.fetchval(
            """
            INSERT INTO purchase_order (order_id, supplier, lines)
            VALUES ($1, 'potter', '[{"sku": "MUG-01", "quantity": 2, "received": 0}]')
            RETURNING id
            """,
            ORDER_ID,
        )
    path = f"/partner-office/purchase-orders/{own}"
    receipt = {"deliveryNote": "1", "lines": [{"sku": "MUG-01", "quantity": 2}]}
    for method, each, body in [
        ("GET", path, None),
        ("POST", f"{path}/confirm", None),
        ("POST", f"{path}/receive", receipt),
    ]:
        assert await status(production_scm, method, each, OTHER_SUPPLIER, body) == 404
        found = await production_scm.http.get(path, headers=SUPPLIER)
        assert found.json()["status"] == "RAISED"
    everything = "/partner-office/purchase-orders?supplier=potter"
    assert (await production_scm.http.get(everything, headers=OTHER_SUPPLIER)).json() == []
    [listed] = (await production_scm.http.get(everything, headers=SUPPLIER)).json()
    assert listed["id"] == own
    assert await status(production_scm, "POST", f"{path}/confirm", SUPPLIER) == 200


@pytest.mark.parametrize(
    ("variable", "tokens", "reason"),
    [
        ("carrier_tokens", (NamedToken("dhl", SecretStr("development-operator-token")),), "must be set in"),
        ("supplier_tokens", named("kim"), "must not occur in two variables"),
    ],
)
def test_tokens_of_partners_are_checked(variable: str, tokens: Tokens, reason: str) -> None:
    """No development token in production, and none of another role, whose permissions it would have."""
    with pytest.raises(ValidationError, match=reason):
        ScmSettings(**(PRODUCTION | {"database_url": "postgresql://scm", variable: tokens}))
