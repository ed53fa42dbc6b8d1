"""The four services, for tests of operations."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from snsqs import AwsClients, aws_clients

from local.postgres import Postgres
from tests.conftest import REGION, emptied, fresh_database
from tests.serving import OPERATOR, Served, adapter_service, console_service, order_service, scm_service


@dataclass(frozen=True)
class Operated:
    """The services, and the server between them."""

    console: Served
    adapter: Served
    order: Served
    scm: Served
    aws: AwsClients
    scm_database: str
    console_database: str
    aws_url: str

    async def get(self, path: str, **params: Any) -> Any:
        """Return the console's response to an operator."""
        answer = await self.console.http.get(path, params=params, headers=OPERATOR)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Post as an operator, and return the response of this status."""
        answer = await self.console.http.post(path, json=body, headers=OPERATOR)
        assert answer.status_code == status, answer.text
        return answer.json()

    def another_scm(self) -> Any:
        """One more instance of SCM, on the same database."""
        return scm_service(self.scm_database, self.aws_url, self.adapter.url, self.order.url)


@asynccontextmanager
async def operated(server: Postgres, aws_server: str) -> AsyncIterator[Operated]:
    async with (
        fresh_database(server, "template_order") as order_database,
        fresh_database(server, "template_scm") as scm_database,
        fresh_database(server, "template_console") as console_database,
        aws_clients(region=REGION, endpoint_url=await emptied(aws_server)) as aws,
        adapter_service(aws_server) as adapter,
        order_service(order_database, aws_server, adapter.url) as order,
        scm_service(scm_database, aws_server, adapter.url, order.url) as scm,
        console_service(
            console_database, aws_server, *(each.registration for each in (order, adapter, scm))
        ) as console,
    ):
        yield Operated(console, adapter, order, scm, aws, scm_database, console_database, aws_server)
