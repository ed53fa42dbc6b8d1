"""The APIs keep what their OpenAPI documents say, whatever they are sent."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from shared.tokens import DEVELOPMENT_OPERATOR, DEVELOPMENT_SERVICE
from tests.serving import Served

CONFIGURATION = f"""
seed = 1
continue-on-failure = true
request-timeout = 10

[generation]
deterministic = true
database = "none"
max-examples = 10

[phases.stateful]
enabled = false

# Schemathesis sends no header in quotes, which entity tags need; and what only its owner can have, a cursor
# and a key that was not used before, it makes up.
[[operations]]
include-path-regex = "^/orders"
parameters = {{ "header.if-match" = "*", "header.if-none-match" = "*" }}
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 404, 409, 422]

[auth.openapi.serviceToken]
bearer = "{DEVELOPMENT_SERVICE.get_secret_value()}"

[auth.openapi.operatorToken]
bearer = "{DEVELOPMENT_OPERATOR.token.get_secret_value()}"
"""


@pytest.mark.parametrize("service", ["order", "adapter", "scm"])
async def test_every_endpoint_answers_as_documented(
    scm: Served, order: Served, adapter: Served, tmp_path: Path, service: str
) -> None:
    """With valid values, with values that are wrong in every way, without a token, with other methods: no
    5xx, only the documented status codes, content types and shapes; what is wrong is refused."""
    served = {"order": order, "adapter": adapter, "scm": scm}[service]
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"],
        cwd=tmp_path,
        env=os.environ | {"NO_PROXY": "127.0.0.1", "COLUMNS": "110"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    print(output.decode())
    assert process.returncode == 0, output.decode()
