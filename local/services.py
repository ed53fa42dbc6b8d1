"""The services of this system: what `make up`, smoke test, chaos run and tests start.

`make new-service` appends to this list. `docker-compose.yml` and `.env.example` are checked against it.
"""

from typing import NamedTuple


class ServiceDefinition(NamedTuple):
    """A service, in the package `services.<name>`."""

    name: str
    port: int
    """Port on the loopback interface, unless `<NAME>_PORT` is set."""
    database: str | None = None
    """Name of its PostgreSQL database; None for a service that stores nothing."""


SERVICES = (
    ServiceDefinition("console", 8000, "console"),
    ServiceDefinition("order", 8001, "orders"),
    ServiceDefinition("adapter", 8002),
    ServiceDefinition("scm", 8003, "scm"),
)

DATABASES = {each.name: each.database for each in SERVICES if each.database is not None}


def variable(name: str, suffix: str) -> str:
    """Return the environment variable of a service: `ORDER_PORT`."""
    return f"{name.upper().replace('-', '_')}_{suffix}"
