"""The database when it has no connection to give."""

import asyncpg
import pytest
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, DatabaseUnavailable


async def test_who_waits_too_long_for_a_connection_is_told(order_database: str) -> None:
    """All are in use. When one came back, the next who asks has it."""
    async with asyncpg.create_pool(order_database, min_size=1, max_size=1) as pool:
        database = Database(pool, ApplicationEventPublisher())
        async with database.connection():
            with pytest.raises(DatabaseUnavailable, match="no connection"):
                async with database.connection():
                    pass
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
