"""Connection pool that is exhausted, and values of jsonb columns."""

import socket

import asyncpg
import pytest
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, DatabaseUnavailable, DatabaseUnreachable, Unstorable, connect


async def test_a_server_that_does_not_answer_is_named() -> None:
    """With the reason, which the timeout itself does not have."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/orders"
        with pytest.raises(DatabaseUnreachable, match="/orders: no answer within 5 s"):
            async with connect(url, ApplicationEventPublisher()):
                pass


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
