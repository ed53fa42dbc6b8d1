"""REST API of the Order service.

`execute` runs every command in one transaction; the endpoints only translate. All but placing an order
require a token outside development, because the response has a buyer's name, phone number and address.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import TypeAdapter
from snsqs import WireModel
from snsqs.inbox import ReceivedMessage, received
from snsqs.outbox import LoggedEvent, history
from snsqs.postgres import Transaction

from services.order import commands, listing, store
from services.order.idempotency import KEY, idempotency_key, idempotent
from services.order.order import (
    DeliveryAddress,
    Memo,
    NotAllowed,
    Order,
    OrderError,
    PlaceOrder,
    UnknownOrder,
    VersionMismatch,
)
from services.order.order_id import FORMAT
from shared.web import (
    IF_MATCH,
    IF_NONE_MATCH,
    PAGED,
    DatabaseDependency,
    ErrorStatuses,
    Problem,
    ReaderAccess,
    RequestModel,
    database,
    link_next,
    operation_id,
    preconditions,
    problems,
    response_headers,
    with_headers,
)

router = APIRouter(prefix="/orders", tags=["orders"], generate_unique_id_function=operation_id)

STATUSES: ErrorStatuses = {OrderError: 409, UnknownOrder: 404, VersionMismatch: 412}

_RESPONSES = {**response_headers(200, "ETag"), **problems(400, 404, 409, 412)}
_ORDERS = TypeAdapter(list[Order])

Command = Callable[[Transaction], Awaitable[Order]]


class _AllowedVersions:
    """Versions of an order that the request's preconditions allow."""

    def __init__(self, request: Request) -> None:
        self._preconditions = preconditions(request)

    def __contains__(self, version: object) -> bool:
        tag = f'"{version}"'
        return self._preconditions.matches(tag) and not self._preconditions.is_known(tag)


async def _versions(request: Request) -> commands.Versions:
    return _AllowedVersions(request)


Versions = Annotated[commands.Versions, Depends(_versions)]
OrderId = Annotated[str, Path(description=FORMAT)]


class MemoBody(RequestModel):
    memo: Memo


class OrderEvents(WireModel):
    """Events of one order: those it published, with the adapter's decisions, and those received from SCM."""

    published: list[LoggedEvent]
    received: list[ReceivedMessage]


async def execute(
    request: Request, command: Command, *, body: WireModel | None = None, status: int = 200
) -> Response:
    """Run a command in a transaction of its own and respond with the changed order.

    If the request has an Idempotency-Key, the response is stored in the same transaction, and repeated when
    the key comes again. `body` is the parsed request body, `status` that of success. Raises Problem 400 and
    422 for a key that is malformed or was used for another request, and OrderError.
    """
    key = idempotency_key(request, body)
    async with database(request).transaction() as tx:
        if key is None:
            return _order_response(await command(tx), status)
        return await idempotent(key, tx, lambda: _order_or_conflict(command, status, tx))


async def _order_or_conflict(command: Command, status: int, tx: Transaction) -> Response:
    try:
        async with tx.connection.transaction():  # a savepoint: of a rejected command only the response stays
            return _order_response(await command(tx), status)
    except NotAllowed as error:
        return Problem(409, str(error)).response()


def _order_response(order: Order, status: int = 200) -> Response:
    headers = {"content-type": "application/json", "etag": _entity_tag(order)}
    if status == 201:
        headers["location"] = f"/orders/{order.id}"
    return Response(order.model_dump_json(), status, headers)


def _entity_tag(order: Order) -> str:
    return f'"{order.version}"'


@router.get(
    "/{order_id}",
    dependencies=[ReaderAccess],
    response_model=Order,
    responses={
        **response_headers(200, "ETag"),
        304: {"description": "Unchanged: If-None-Match names the current ETag"},
        **problems(400, 404, 412),
    },
    openapi_extra=with_headers(IF_MATCH, IF_NONE_MATCH),
    summary="Read an order",
)
async def read(order_id: OrderId, request: Request) -> Response:
    async with database(request).connection() as connection:
        order = await store.find(connection, order_id)
    return preconditions(request).not_modified(_entity_tag(order)) or _order_response(order)


@router.post(
    "",
    status_code=201,
    response_model=Order,
    responses={**response_headers(201, "ETag", "Location"), **problems(400)},
    openapi_extra=with_headers(KEY),
    summary="Place an order",
)
async def place(body: PlaceOrder, request: Request) -> Response:
    return await execute(request, lambda tx: commands.place(body, tx), body=body, status=201)


@router.post(
    "/{order_id}/complete",
    dependencies=[ReaderAccess],
    response_model=Order,
    responses=_RESPONSES,
    openapi_extra=with_headers(KEY, IF_MATCH, IF_NONE_MATCH),
    summary="Complete an order: the buyer has paid",
)
async def complete(order_id: OrderId, versions: Versions, request: Request) -> Response:
    return await execute(request, lambda tx: commands.complete(order_id, versions, tx))


@router.post(
    "/{order_id}/cancel",
    dependencies=[ReaderAccess],
    response_model=Order,
    responses=_RESPONSES,
    openapi_extra=with_headers(KEY, IF_MATCH, IF_NONE_MATCH),
    summary="Cancel an order; once paid, it is CANCELLING until SCM replies",
)
async def cancel(order_id: OrderId, versions: Versions, request: Request) -> Response:
    return await execute(request, lambda tx: commands.cancel(order_id, versions, tx))


@router.put(
    "/{order_id}/delivery-address",
    dependencies=[ReaderAccess],
    response_model=Order,
    responses=_RESPONSES,
    openapi_extra=with_headers(KEY, IF_MATCH, IF_NONE_MATCH),
    summary="Change the delivery address",
)
async def change_delivery_address(
    order_id: OrderId, versions: Versions, body: DeliveryAddress, request: Request
) -> Response:
    return await execute(
        request,
        lambda tx: commands.change_delivery_address(order_id, versions, body, tx),
        body=body,
    )


@router.put(
    "/{order_id}/memo",
    dependencies=[ReaderAccess],
    response_model=Order,
    responses=_RESPONSES,
    openapi_extra=with_headers(KEY, IF_MATCH, IF_NONE_MATCH),
    summary="Write the order's memo",
)
async def write_memo(order_id: OrderId, versions: Versions, body: MemoBody, request: Request) -> Response:
    return await execute(
        request, lambda tx: commands.write_memo(order_id, versions, body.memo, tx), body=body
    )


@router.get(
    "",
    response_model=list[Order],
    dependencies=[ReaderAccess],
    responses=PAGED,
    summary="List orders, newest first; Link has the next page",
)
async def list_orders(
    request: Request, order_filter: Annotated[listing.OrderFilter, Query()], db: DatabaseDependency
) -> Response:
    async with db.connection() as connection:
        page = await listing.find_page(connection, order_filter)
    response = Response(_ORDERS.dump_json(page.orders), media_type="application/json")
    if page.next_cursor:
        link_next(request, response, cursor=page.next_cursor)
    return response


@router.get("/{order_id}/events", responses=problems(404), summary="List the events of an order")
async def events(order_id: OrderId, db: DatabaseDependency) -> OrderEvents:
    """Published events, with the adapter's decisions, and messages received from SCM."""
    async with db.connection() as connection:
        await store.find(connection, order_id)
        return OrderEvents(
            published=await history(connection, order_id), received=await received(connection, order_id)
        )
