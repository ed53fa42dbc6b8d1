"""Generated orders, each with a forwarded event."""

import json
import random

import asyncpg

from local.order import ORDER
from local.postgres import Postgres

# One a second since 2000, of a thousand buyers; every tenth is not completed.
SEED = """
    WITH placed AS (
        INSERT INTO orders (
            id, version, status, buyer, delivery_address, order_lines, total_price, placed_at, completed_at
        )
        SELECT to_char(placed_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS'), 2,
               CASE number % 10 WHEN 0 THEN 'PLACED' ELSE 'DELIVERED' END,
               jsonb_build_object(
                   'name', 'Buyer ' || number % 1000, 'phoneNumber', '010-' || 10000 + number % 1000
               ),
               $2, $3, 24000, placed_at, CASE number % 10 WHEN 0 THEN NULL ELSE placed_at END
        FROM generate_series(1, $1::bigint) AS number,
             LATERAL (SELECT timestamptz '2000-01-01Z' + number * interval '1 s' AS placed_at) AS placed
        RETURNING id, buyer, delivery_address, order_lines, placed_at
    )
    INSERT INTO event_log (
        id, type, subject, sequence, occurred_at, data, relayed_at, decided_at, decision, rule
    )
    SELECT gen_random_uuid(), 'OrderPlaced', id, 1, placed_at,
           json_build_object(
               'source', json_build_object(
                   'id', id, 'version', 1, 'status', 'PLACED', 'buyer', buyer,
                   'deliveryAddress', delivery_address, 'orderLines', order_lines
               ),
               'occurenceOn', 1520393282506
           ),
           placed_at, placed_at, 'held_back', 'placed-orders-stay-here'
    FROM placed
"""

SOME = "SELECT id FROM orders TABLESAMPLE BERNOULLI (LEAST(100, $1::float * 100 / $2))"


async def seed(postgres: Postgres, database: str, orders: int) -> None:
    connection = await asyncpg.connect(postgres.url(database))
    parts = [json.dumps(ORDER[name]) for name in ("deliveryAddress", "orderLines")]
    await connection.execute(SEED, orders, *parts, timeout=900)
    await connection.execute("VACUUM (ANALYZE) orders, event_log", timeout=900)
    await connection.close()


async def some_ids(postgres: Postgres, database: str, count: int) -> list[str]:
    connection = await asyncpg.connect(postgres.url(database))
    orders = await connection.fetchval("SELECT count(*) FROM orders", timeout=60)
    found = [row["id"] for row in await connection.fetch(SOME, 1.5 * count, orders)]
    await connection.close()
    return random.choices(found, k=count)  # noqa: S311 - not a secret
