"""The REST API of the Order service."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter
from snsqs import WireModel
from snsqs.inbox import ReceivedMessage, received
from snsqs.outbox import LoggedEvent, history

from services.order import commands, listing, store
from services.order.answer import Answer, entity_tag
from services.order.idempotency import KEYED, once
from services.order.order import (
    DeliveryAddress,
    Memo,
    Order,
    OrderError,
    PlaceOrder,
    UnknownOrder,
    VersionMismatch,
)
from services.order.order_id import FORM
from shared.web import DatabaseDependency, Problem, problems
from shared.web.database import database
from shared.web.entity_tag import IF_NONE_MATCH, IfMatch, is_known, required
from shared.web.openapi import with_headers
from shared.web.request import RequestModel

router = APIRouter(prefix="/orders", tags=["orders"])

_TAG = re.compile(r'"([1-9][0-9]{0,18})"')
REFUSALS = problems(400, 404, 409, 412)
_ORDERS = TypeAdapter(list[Order])


async def versions(if_match: IfMatch = None) -> commands.Versions:
    """The versions that the client has in mind. A tag that is none of ours is no version."""
    tags = required(if_match)
    return None if tags is None else {int(match[1]) for tag in tags if (match := _TAG.fullmatch(tag))}


OrderId = Annotated[str, Path(description=FORM)]
Versions = Annotated[commands.Versions, Depends(versions)]


class MemoBody(RequestModel):
    memo: Memo


class OrderEvents(WireModel):
    """The way of one order: what it published and what became of it, and what it heard from SCM."""

    published: list[LoggedEvent]
    received: list[ReceivedMessage]


@router.get(
    "/{order_id}",
    response_model=Order,
    responses={304: {"description": "It is still as the If-None-Match header says"}, **problems(400, 404)},
    openapi_extra=with_headers(IF_NONE_MATCH),
    summary="The order as it is now",
)
async def read(order_id: OrderId, request: Request) -> Response:
    async with database(request).connection() as connection:
        order = await store.find(connection, order_id)
    if is_known(entity_tag(order), request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers={"etag": entity_tag(order)})
    return Answer.done(order).response()


@router.post(
    "",
    status_code=201,
    response_model=Order,
    responses=problems(400),
    openapi_extra=KEYED,
    summary="Place an order",
)
async def place(body: PlaceOrder, request: Request) -> Response:
    return await once(request, lambda tx: commands.place(body, tx), given=body, status=201)


@router.post(
    "/{order_id}/complete",
    response_model=Order,
    responses=REFUSALS,
    openapi_extra=KEYED,
    summary="The buyer has paid",
)
async def complete(order_id: OrderId, versions: Versions, request: Request) -> Response:
    return await once(request, lambda tx: commands.complete(order_id, versions, tx))


@router.post(
    "/{order_id}/cancel",
    response_model=Order,
    responses=REFUSALS,
    openapi_extra=KEYED,
    summary="Cancel; a paid order waits for SCM's answer",
)
async def cancel(order_id: OrderId, versions: Versions, request: Request) -> Response:
    return await once(request, lambda tx: commands.cancel(order_id, versions, tx))


@router.put(
    "/{order_id}/delivery-address",
    response_model=Order,
    responses=REFUSALS,
    openapi_extra=KEYED,
    summary="Send the goods somewhere else",
)
async def change_delivery_address(
    order_id: OrderId, versions: Versions, body: DeliveryAddress, request: Request
) -> Response:
    return await once(
        request, lambda tx: commands.change_delivery_address(order_id, versions, body, tx), given=body
    )


@router.put(
    "/{order_id}/memo",
    response_model=Order,
    responses=REFUSALS,
    openapi_extra=KEYED,
    summary="Write a note on the order",
)
async def write_memo(order_id: OrderId, versions: Versions, body: MemoBody, request: Request) -> Response:
    return await once(request, lambda tx: commands.write_memo(order_id, versions, body.memo, tx), given=body)


@router.get("", response_model=list[Order], summary="Orders, newest first; the Link header has the next page")
async def find(
    request: Request, wanted: Annotated[listing.Filter, Query()], db: DatabaseDependency
) -> Response:
    async with db.connection() as connection:
        page = await listing.page(connection, wanted)
    response = Response(_ORDERS.dump_json(page.orders), media_type="application/json")
    if page.next:
        response.headers["link"] = f'<{request.url.include_query_params(cursor=page.next)}>; rel="next"'
    return response


@router.get(
    "/{order_id}/events", responses=problems(404), summary="The order's events and what became of them"
)
async def events(order_id: OrderId, db: DatabaseDependency) -> OrderEvents:
    async with db.connection() as connection:
        await store.find(connection, order_id)
        return OrderEvents(
            published=await history(connection, order_id), received=await received(connection, order_id)
        )


def answer_order_errors(app: FastAPI) -> None:
    """Translates what orders refuse into answers."""
    statuses: dict[type[OrderError], int] = {UnknownOrder: 404, VersionMismatch: 412}

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, OrderError)
        return Problem(statuses.get(type(error), 409), str(error)).response()

    app.add_exception_handler(OrderError, refused)
