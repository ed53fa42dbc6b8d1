"""Order service: composition and command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from services.order import api, events, reconciliation, replies
from services.order.idempotency import idempotency_keys
from services.order.settings import Settings
from shared import operations
from shared.service import add_migrate, command_line, event_driven
from shared.web import application, map_errors

MIGRATIONS = (operations.MIGRATIONS, Path(__file__).parent / "migrations")

HANDLERS = (replies.on_fulfilment,)
"""Message handlers of this service."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Its lifespan opens and closes its resources."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            httpx.AsyncClient() as http,
            event_driven(
                app,
                settings,
                source="order",
                publishes=events.PUBLISHED,
                handlers=HANDLERS,
                accepts={"scm"},
                http=http,
                expiries=[idempotency_keys(settings.idempotency_retention_days)],
            ),
        ):
            yield

    app = application(
        title="Order service",
        description="Orders over REST, and their domain events.",
        lifespan=lifespan,
        settings=settings,
    )
    app.routes.extend(api.router.routes)  # an included router would be searched twice per request
    app.include_router(reconciliation.router)
    map_errors(app, api.STATUSES)
    return app


cli = command_line("order", Settings, create_app)
add_migrate(cli, "order", MIGRATIONS)
