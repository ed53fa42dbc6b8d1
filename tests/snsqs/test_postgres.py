"""Connection pool that is exhausted, and values of jsonb columns."""

import asyncpg
import pytest
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, DatabaseUnavailable, Unstorable


async def test_a_connection_that_is_not_available_in_time_raises(order_database: str) -> None:
    """All are in use; once one is released, it can be acquired again."""
    async with asyncpg.create_pool(order_database, min_size=1, max_size=1) as pool:
        database = Database(pool, ApplicationEventPublisher())
        async with database.connection():
            with pytest.raises(DatabaseUnavailable, match="no connection"):
                async with database.connection():
                    pass
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_jsonb_value_that_json_cannot_represent_is_unstorable(database: Database) -> None:
    """Not stored as null: with the path of the value, and other values as they are."""
    with pytest.raises(Unstorable, match=r"lines\.1 is nan, which JSON cannot represent"):
        async with database.connection() as connection:
            await connection.fetchval("SELECT $1::jsonb", {"lines": [None, float("nan")]})
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT $1::jsonb", {"lines": [None, 1.5]}) == {"lines": [None, 1.5]}
