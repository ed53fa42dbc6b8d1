"""The service's database, for endpoints: `db: DatabaseDependency`."""

from typing import Annotated

from fastapi import Depends, Request
from snsqs.postgres import Database


def database(request: Request) -> Database:
    """The service's database. To call it costs less than to depend on it (DatabaseDependency)."""
    found: Database = request.app.state.database
    return found


async def _database(request: Request) -> Database:
    return database(request)  # a coroutine, because FastAPI runs a plain function in a thread


DatabaseDependency = Annotated[Database, Depends(_database)]
