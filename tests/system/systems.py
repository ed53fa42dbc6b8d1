"""The four services together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from snsqs import AwsClients

from tests.serving import Served, adapter_service, console_service, order_service, scm_service


@dataclass(frozen=True)
class System:
    """All services, on real ports."""

    order: Served
    scm: Served
    adapter: Served
    console: Served
    scm_database: str
    console_database: str
    aws: AwsClients
    aws_url: str


@asynccontextmanager
async def whole_system(
    order_database: str, scm_database: str, console_database: str, aws: AwsClients, aws_url: str
) -> AsyncIterator[System]:
    async with (
        adapter_service(aws_url) as adapter,
        order_service(order_database, aws_url, adapter.url) as order,
        scm_service(scm_database, aws_url, adapter.url, order.url) as scm,
        console_service(
            console_database, aws_url, *(each.registration for each in (order, adapter, scm))
        ) as console,
    ):
        yield System(order, scm, adapter, console, scm_database, console_database, aws, aws_url)
