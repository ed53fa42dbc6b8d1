"""The APIs keep what their OpenAPI documents say, whatever they are sent."""

import asyncio
import os
import sys
from pathlib import Path

from local.ports import HOST
from local.postgres import Postgres
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, DEVELOPMENT_SERVICE
from tests.console.operated import operated
from tests.order.test_api import place
from tests.serving import Served, eventually
from tests.system.test_flow import completed_order, invoiced, status_is, stock

CONFIGURATION = f"""
hooks = "{Path(__file__).with_name("schemathesis_hooks.py")}"
continue-on-failure = true
request-timeout = 10
max-stream-events = 1

[generation]
deterministic = true
database = "none"
max-examples = 5  # for each endpoint, besides those that are derived from its document one by one

[phases.stateful]
enabled = false

[checks.positive_data_acceptance]
# What may be refused though the document allows it: another state (409), another version (412), nothing
# there (404), not for us (403), and 400 for Schemathesis's own `If-Match: 0`, which is against the document.
expected-statuses = ["2XX", "304", 400, 403, 404, 409, 412]

[auth.openapi.serviceToken]
bearer = "{DEVELOPMENT_SERVICE.get_secret_value()}"

[auth.openapi.operatorToken]
bearer = "{DEVELOPMENT_OPERATOR.token.get_secret_value()}"

[parameters]
order_id = {{ dictionary = "orders", probability = 0.5 }}
orderId = {{ dictionary = "orders", probability = 0.5 }}

[[operations]]
include-name = "GET /orders"
# A cursor that no page ends with, or a time that does not begin before it ends, no schema excludes.
checks.positive_data_acceptance.expected-statuses = ["2XX", 422]

[[operations]]
include-path-regex = "^(/api)?/(dead-letters|replay|parked)"
# Nor a selection that selects nothing, or everything by accident.
checks.positive_data_acceptance.expected-statuses = ["2XX", 404, 409, 422]

[dictionaries.orders]
"""


async def some_orders(order: Served, scm: Served) -> list[str]:
    """Orders that have been everywhere, so that the answers are not all empty."""
    await stock(scm, mug=100)
    prepared, short = await completed_order(order, mug=1), await completed_order(order, tray=1)
    await eventually(lambda: invoiced(order, prepared))
    await eventually(lambda: status_is(order, short, "BACKORDERED"))
    return [prepared, short, await place(order)]


async def violations(service: Served, configuration: Path) -> str:
    """What Schemathesis finds in the answers of the service; nothing, when they keep to its document."""
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
    """Schemathesis sends valid values, values that are wrong in every way, no token, other methods. No
    answer is a 5xx, each has a status, a content type and a shape of the document, and what the document
    excludes is refused."""
    configuration = tmp_path / "schemathesis.toml"
    async with operated(postgres_server, aws_server, tmp_path) as system:
        orders = await some_orders(system.order, system.scm)
        configuration.write_text(f"{CONFIGURATION}values = {orders}\n")
        services = (system.order, system.adapter, system.scm, system.console)
        found = await asyncio.gather(*(violations(service, configuration) for service in services))
    assert found == [""] * len(services), "\n".join(found)
