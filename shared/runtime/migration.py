"""Migrations: plain SQL files, applied by yoyo.

`SHARED` are those that every service with a database has: event log, inbox, paused listeners. A service's
own are in its `migrations/` folder. yoyo commits a migration before it marks it as applied, so each must do
no harm when it is run again: `IF NOT EXISTS`.
"""

from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from yoyo import get_backend, read_migrations

SHARED = (
    Path(str(files("snsqs") / "migrations")),
    Path(__file__).parent.parent / "operations" / "migrations",
)
"""Folders of the migrations that every service with a database has, in order."""

_ONE_AT_A_TIME = 5_310_071
"""The key of the advisory lock under which migrations run; PostgreSQL frees it when a process dies."""


def migrate(url: str, folders: Sequence[Path]) -> list[str]:
    """Creates the database where it is missing and applies what is new in the folders, in order.

    Safe when several processes start at once. Returns the ids of the migrations that it applied.
    """
    _create_database(url)
    with psycopg.connect(url, autocommit=True) as lock:
        lock.execute("SELECT pg_advisory_lock(%s)", [_ONE_AT_A_TIME])
        with get_backend(url.replace("postgresql://", "postgresql+psycopg://", 1)) as backend:
            new = backend.to_apply(read_migrations(*map(str, folders)))
            backend.apply_migrations(new)
            return [migration.id for migration in new]


def _create_database(url: str) -> None:
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        # Another process may be faster between the two statements.
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
