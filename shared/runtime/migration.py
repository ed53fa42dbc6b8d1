"""Migrations of a service's database: the messaging library's, then the service's own.

The library brings its own tables up to date (`snsqs.migrations`). The migrations of a service are plain SQL
files, applied by yoyo, which commits a migration before it marks it as applied; so each must be safe to
repeat, with `IF NOT EXISTS`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import snsqs.migrations
from psycopg import sql
from yoyo import get_backend, read_migrations

_LOCK_KEY = 5_310_071
"""Key of the advisory lock under which migrations run; PostgreSQL releases it when a process dies."""

_LOCK_TIMEOUT = "SET lock_timeout = '20s'"
"""Longest wait for migrations of another process, which may be frozen."""

_MIGRATION_TIMEOUTS = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '20s'"
"""All statements on a table wait behind a migration that waits for its lock. If it fails, repeat it."""


class MigrationTimeout(Exception):
    """Another process has been migrating the database for too long. Wait for it or end it, then repeat."""


def migrate(url: str, folders: Sequence[Path], *, messaging: bool = True) -> list[str]:
    """Create the database if it is missing, and apply new migrations: the library's, then those in `folders`.

    `messaging` is false for a service without outbox and inbox, which needs no tables of the library.

    Safe when several processes start at once. Return the ids of the applied migrations. Raises psycopg.Error
    and MigrationTimeout.
    """
    _create_database(url)
    with psycopg.connect(url, autocommit=True) as lock:
        _acquire(lock)
        applied = asyncio.run(snsqs.migrations.migrate(url)) if messaging else []
        with get_backend(url.replace("postgresql://", "postgresql+psycopg://", 1)) as backend:
            backend.connection.execute(_MIGRATION_TIMEOUTS)
            new = backend.to_apply(read_migrations(*map(str, folders)))
            backend.apply_migrations(new)
            return [*applied, *(migration.id for migration in new)]


def _acquire(lock: psycopg.Connection) -> None:
    lock.execute(_LOCK_TIMEOUT)
    try:
        lock.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
    except psycopg.errors.LockNotAvailable:
        raise MigrationTimeout(
            "another process has been migrating it for 20 s: wait for it or end it, then repeat"
        ) from None


def _create_database(url: str) -> None:
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        # Another process may be faster between the two statements.
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
