"""SCM service: composition and command line."""

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
from services.scm.order_check import OrderCheck
from services.scm.order_client import OrderClient
from services.scm.settings import Settings
from shared import operations
from shared.runtime.tokens import bearer
from shared.service import add_migrate, command_line, event_driven
from shared.web import application, map_errors

MIGRATIONS = (operations.MIGRATIONS, Path(__file__).parent / "migrations")

HANDLERS = (listener.on_order_event, demand.on_order_completed)
"""Message handlers of this service."""

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
"""REST API of this service."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Its lifespan opens and closes its resources."""
    signal = inventory.AllocationSignal()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient() as http:
            order_client = OrderClient(http, settings.order_url, bearer(settings.service_token))
            async with event_driven(
                app,
                settings,
                source="scm",
                publishes=fulfilment.PUBLISHED,
                handlers=HANDLERS,
                accepts={"order"},
                http=http,
                listeners=listeners(order_client, signal),
                loops=lambda database: {"allocation": inventory.Allocation(database, signal)},
                dependencies={"order service": order_client},
            ):
                yield

    app = application(
        title="SCM service",
        description="Supply chain management: inventory, purchase, delivery and demand.",
        lifespan=lifespan,
        settings=settings,
        partner_tokens={"carrier": settings.carrier_tokens, "supplier": settings.supplier_tokens},
    )
    for router in ROUTERS:
        app.include_router(router)
    map_errors(app, {**inventory.STATUSES, **purchase.STATUSES, **delivery.STATUSES})
    return app


def listeners(order_client: OrderClient, signal: inventory.AllocationSignal) -> list[Listener]:
    """Return the listeners of SCM's in-process events. Their order is irrelevant (see `events`)."""
    return [
        OrderCheck(order_client),
        fulfilment.open_fulfilment,
        fulfilment.record_progress,
        fulfilment.withdraw,
        inventory.reserve_goods,
        inventory.release_goods,
        inventory.receive_goods,
        inventory.dispatch_goods,
        signal,
        purchase.buy_missing_goods,
        delivery.DeliveryInvoicing(order_client),
        delivery.void_invoice,
    ]


cli = command_line("scm", Settings, create_app)
add_migrate(cli, "scm", MIGRATIONS)
