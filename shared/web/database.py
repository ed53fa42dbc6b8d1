"""The service's database, for endpoints: `db: DatabaseDependency`."""

from typing import Annotated

from fastapi import Depends, Request

from shared.postgres import Database


async def _database(request: Request) -> Database:
    found: Database = request.app.state.database
    return found


DatabaseDependency = Annotated[Database, Depends(_database)]
