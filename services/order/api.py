"""The REST API of the Order service."""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request, Response
from fastapi.responses import JSONResponse

from services.order import commands, store
from services.order.order import DeliveryAddress, Given, Memo, Order, OrderError, PlaceOrder, UnknownOrder
from shared.domain_event import WireModel
from shared.inbox import ReceivedMessage, received
from shared.outbox import LoggedEvent, history
from shared.web import DatabaseDependency, Problem, problems

router = APIRouter(prefix="/orders", tags=["orders"])


def known_form(order_id: Annotated[str, Path(description="20 digits, yyyyMMddHHmmssffffff")]) -> str:
    if not store.is_id(order_id):
        raise UnknownOrder("there is no order with this id: an order id has 20 digits")
    return order_id


OrderId = Annotated[str, Depends(known_form)]


class MemoBody(Given):
    memo: Memo


class OrderEvents(WireModel):
    """The way of one order: what it published and what became of it, and what it heard from SCM."""

    published: list[LoggedEvent]
    received: list[ReceivedMessage]


@router.post("", status_code=201, summary="Place an order")
async def place(command: PlaceOrder, response: Response, db: DatabaseDependency) -> Order:
    async with db.transaction() as tx:
        order = await commands.place(command, tx)
    response.headers["location"] = f"/orders/{order.id}"
    return _tagged(order, response)


@router.post("/{order_id}/complete", responses=problems(404, 409), summary="The buyer has paid")
async def complete(order_id: OrderId, response: Response, db: DatabaseDependency) -> Order:
    async with db.transaction() as tx:
        return _tagged(await commands.complete(order_id, tx), response)


@router.post(
    "/{order_id}/cancel",
    responses=problems(404, 409),
    summary="Cancel; a paid order waits for SCM's answer",
)
async def cancel(order_id: OrderId, response: Response, db: DatabaseDependency) -> Order:
    async with db.transaction() as tx:
        return _tagged(await commands.cancel(order_id, tx), response)


@router.put(
    "/{order_id}/delivery-address",
    responses=problems(404, 409),
    summary="Send the goods somewhere else",
)
async def change_delivery_address(
    order_id: OrderId, body: DeliveryAddress, response: Response, db: DatabaseDependency
) -> Order:
    async with db.transaction() as tx:
        return _tagged(await commands.change_delivery_address(order_id, body, tx), response)


@router.put("/{order_id}/memo", responses=problems(404, 409), summary="Write a note on the order")
async def write_memo(order_id: OrderId, body: MemoBody, response: Response, db: DatabaseDependency) -> Order:
    async with db.transaction() as tx:
        return _tagged(await commands.write_memo(order_id, body.memo, tx), response)


@router.get(
    "/{order_id}",
    response_model=Order,
    responses={304: {"description": "It is still as the If-None-Match header says"}, **problems(404)},
    summary="The order as it is now",
)
async def read(
    order_id: OrderId,
    response: Response,
    db: DatabaseDependency,
    if_none_match: Annotated[str, Header()] = "",
) -> Order | Response:
    async with db.connection() as connection:
        order = _tagged(await store.find(connection, order_id), response)
    tag = response.headers["etag"]
    if tag in (known.strip() for known in if_none_match.split(",")):
        return Response(status_code=304, headers={"etag": tag})
    return order


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

    async def refused(_: Request, error: Exception) -> JSONResponse:
        status = 404 if isinstance(error, UnknownOrder) else 409
        return Problem(status, str(error)).response()

    app.add_exception_handler(OrderError, refused)


def _tagged(order: Order, response: Response) -> Order:
    response.headers["etag"] = f'"{order.version}"'
    return order
