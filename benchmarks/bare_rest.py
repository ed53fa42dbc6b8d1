"""The floor of the Order service: FastAPI and asyncpg, written by hand.

`python -m benchmarks.bare_rest DATABASE_URL PORT` serves a read of an order, and an insert of an order
and its event, with the same answers. Without checks, metrics and logs.
"""

import json
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI, HTTPException

READ = """
    SELECT id, version, status, buyer, delivery_address AS "deliveryAddress", order_lines AS "orderLines",
           total_price AS "totalPrice", memo, invoice_id AS "invoiceId", placed_at AS "placedAt",
           completed_at AS "completedAt"
    FROM orders
    WHERE id = $1
"""

PLACE = """
    INSERT INTO orders (
        id, version, status, buyer, delivery_address, order_lines, total_price, placed_at
    )
    VALUES ($1, 1, 'PLACED', $2, $3, $4, $5, $6)
"""

PUBLISH = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, data)
    VALUES ($1, 'OrderPlaced', $2, 1, $3, $4)
"""

JSON = ("buyer", "deliveryAddress", "orderLines")


def create_app(database_url: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database_url, min_size=1, max_size=22) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders/{order_id}")
    async def read(order_id: str) -> dict[str, Any]:
        row = await app.state.pool.fetchrow(READ, order_id)
        if row is None:
            raise HTTPException(404)
        return {**row, **{name: json.loads(row[name]) for name in JSON}}

    @app.post("/orders", status_code=201)
    async def place(order: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC)
        order_id = now.strftime("%Y%m%d%H%M%S%f")
        total = sum(line["quantity"] * line["unitPrice"] for line in order["orderLines"])
        placed = {
            "id": order_id,
            "version": 1,
            "status": "PLACED",
            **order,
            "totalPrice": total,
            "memo": None,
            "invoiceId": None,
            "placedAt": now.isoformat().replace("+00:00", "Z"),
            "completedAt": None,
        }
        event = {"source": placed, "occurenceOn": time.time_ns() // 1_000_000}
        parts = [json.dumps(order[name]) for name in JSON]
        async with app.state.pool.acquire() as connection, connection.transaction():
            await connection.execute(PLACE, order_id, *parts, total, now)
            await connection.execute(PUBLISH, uuid.uuid4(), order_id, now, json.dumps(event))
        return placed

    return app


if __name__ == "__main__":
    url, port = sys.argv[1:]
    config = uvicorn.Config(
        create_app(url), port=int(port), http="httptools", access_log=False, log_level="warning"
    )
    uvloop.run(uvicorn.Server(config).serve())
