"""Command line: apply the migrations of the library's tables."""

import argparse
import asyncio
import os
import sys

import asyncpg

from snsqs.migrations import migrate
from snsqs.postgres import without_password


def main() -> int:
    """Return the exit code: 0, or 2 when the migrations could not be applied."""
    parser = argparse.ArgumentParser(
        prog="python -m snsqs.migrations",
        description="Apply new migrations of the tables event_log and inbox. Safe to run concurrently.",
    )
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL"),
        help="postgresql://user:password@host/database; default: the variable DATABASE_URL",
    )
    url: str | None = parser.parse_args().database_url
    if not url:
        parser.error("no database: give --database-url or set DATABASE_URL")
    try:
        applied = asyncio.run(migrate(url))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"error: {without_password(url)}: {reason}", file=sys.stderr)
        return 2
    print(f"applied: {', '.join(applied)}" if applied else "the database is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
