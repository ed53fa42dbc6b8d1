"""Conformance of the REST APIs to their OpenAPI documents, for valid and invalid requests."""

import asyncio
import os
import sys
from pathlib import Path

from local.ports import HOST
from local.postgres import Postgres
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, development_token
from tests.console.operated import operated
from tests.order.test_api import place
from tests.serving import Served, eventually
from tests.system.test_flow import completed_order, invoiced, status_is, stock

CONFIGURATION = f"""
hooks = "{Path(__file__).with_name("schemathesis_hooks.py")}"
continue-on-failure = true
request-timeout = 60
max-stream-events = 1

[generation]
deterministic = true
database = "none"
max-examples = 5  # for each endpoint, besides those that are derived from its document one by one

[phases.stateful]
enabled = false

[checks.positive_data_acceptance]
# Valid requests may be rejected because of state (409), version (412), absence (404) or permissions (403),
# and with 400 for Schemathesis's own `If-Match: 0`, which violates the document.
expected-statuses = ["2XX", "304", 400, 403, 404, 409, 412]

[auth.openapi.serviceToken]
bearer = "{development_token("order").get_secret_value()}"

[auth.openapi.readerToken]
bearer = "{DEVELOPMENT_OPERATOR.token.get_secret_value()}"

[auth.openapi.operatorToken]
bearer = "{DEVELOPMENT_OPERATOR.token.get_secret_value()}"

[parameters]
order_id = {{ dictionary = "orders", probability = 0.5 }}
orderId = {{ dictionary = "orders", probability = 0.5 }}

[[operations]]
include-name = "GET /orders"
# A schema cannot exclude unknown cursors or periods that end before they begin.
checks.positive_data_acceptance.expected-statuses = ["2XX", 422]

[[operations]]
include-path-regex = "^(/api)?/(dead-letters|replay|parked|held-back|event-log/release)"
# Nor a selection without criteria.
checks.positive_data_acceptance.expected-statuses = ["2XX", 404, 409, 422]

[dictionaries.orders]
"""


async def some_orders(order: Served, scm: Served) -> list[str]:
    """Place orders that all services have processed, so that no response is empty."""
    await stock(scm, mug=100)
    prepared, short = await completed_order(order, mug=1), await completed_order(order, tray=1)
    await eventually(lambda: invoiced(order, prepared), within=60)
    await eventually(lambda: status_is(order, short, "BACKORDERED"), within=60)
    return [prepared, short, await place(order)]


async def violations(service: Served, configuration: Path) -> str:
    """Return the report of Schemathesis on a service; empty if all responses conform to its document."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)],
        *["run", f"{service.url}/openapi.json", "--no-color"],
        cwd=configuration.parent,
        env=os.environ | {"NO_PROXY": HOST, "COLUMNS": "110"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode() if process.returncode else ""


async def test_every_endpoint_answers_as_documented(
    postgres_server: Postgres, aws_server: str, tmp_path: Path
) -> None:
    """Schemathesis sends valid values, invalid values of every kind, no token, other methods. No response is
    a 5xx, each has a status, content type and schema of the document, and invalid requests are rejected."""
    configuration = tmp_path / "schemathesis.toml"
    async with operated(postgres_server, aws_server) as system:
        orders = await some_orders(system.order, system.scm)
        configuration.write_text(f"{CONFIGURATION}values = {orders}\n")
        # One after the other: services call each other with timeouts of 2 s, and a timeout is a 503.
        services = (system.order, system.adapter, system.scm, system.console)
        found = [await violations(service, configuration) for service in services]
    assert found == [""] * len(services), "\n".join(found)
