"""The SCM service put together: what it registers, opens and runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI
from snsqs.events import Listener

from services.scm import (
    delivery,
    demand,
    fulfilment,
    inventory,
    listener,
    overview,
    purchase,
    reconciliation,
)
from services.scm.settings import Settings
from shared import operations
from shared.service import process
from shared.service.event_driven import event_driven
from shared.web import application, map_errors

MIGRATIONS = (operations.MIGRATIONS, Path(__file__).parent / "migrations")

HANDLERS = (listener.on_order_event, demand.on_order_completed)
"""What this service takes from queues."""

ROUTERS = (
    inventory.router,
    inventory.waiting_router,
    purchase.router,
    purchase.supplies_router,
    delivery.router,
    demand.router,
    overview.router,
    reconciliation.router,
)
"""Its REST API."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    bell = inventory.Bell()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient() as http:
            orders = delivery.Orders(http, settings.order_url)
            async with event_driven(
                app,
                settings,
                source="scm",
                handlers=HANDLERS,
                http=http,
                listeners=listeners(orders, bell),
                loops=lambda database: {"allocation": inventory.Allocation(database, bell)},
                dependencies={"order service": orders},
            ):
                yield

    app = application(title="SCM service", description=__doc__, lifespan=lifespan, settings=settings)
    for router in ROUTERS:
        app.include_router(router)
    map_errors(app, {**inventory.STATUSES, **purchase.STATUSES, **delivery.STATUSES})
    return app


def listeners(orders: delivery.Orders, bell: inventory.Bell) -> list[Listener]:
    """The modules, in the order in which they hear of an event."""
    return [
        fulfilment.record_goods_ordered,
        fulfilment.withdraw,
        inventory.reserve_goods,
        inventory.release_goods,
        inventory.take_in_goods,
        inventory.let_goods_go,
        bell,
        purchase.buy_what_is_missing,
        fulfilment.record_progress,
        delivery.Delivery(orders),
        delivery.void_invoice,
    ]


cli = process.command_line("scm", Settings, create_app)
process.add_migrate(cli, "scm", MIGRATIONS)
