"""Clients that are generated from the OpenAPI documents of the services."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.order.test_api import ORDER
from tests.serving import Served

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-openapi" / "bin"
NODE = Path(__file__).parent / "clients" / "node_modules"

pytestmark = pytest.mark.processes

CALLS = """
import json, sys
from order_client import Client
from order_client.api.orders import orders_place, orders_read, orders_write_memo
from order_client.models import MemoBody, PlaceOrder, Problem

client = Client(base_url=sys.argv[1])
placed = orders_place.sync_detailed(client=client, body=PlaceOrder.from_dict(json.loads(sys.argv[2])))
order = placed.parsed
stale = orders_write_memo.sync(order.id, client=client, body=MemoBody(memo="ring twice"), if_match='"7"')
assert isinstance(stale, Problem)
read = orders_read.sync(order.id, client=client)
print(json.dumps([placed.status_code, read.buyer.name, read.total_price, stale.type_]))
"""

IMPORTS = """
import importlib, pkgutil, {0}
for module in pkgutil.walk_packages({0}.__path__, "{0}."):
    importlib.import_module(module.name)
"""


@pytest.fixture(scope="session", autouse=True)
def generators() -> None:
    for generator in (PYTHON / "openapi-python-client", NODE / ".bin" / "openapi-typescript"):
        if not generator.exists():
            pytest.fail(f"{generator} is missing: `make test` installs it")


@pytest.fixture
async def documents(
    order: Served, scm: Served, adapter: Served, console: Served, tmp_path: Path
) -> dict[str, Path]:
    """Files with the OpenAPI documents, by service."""
    found = {}
    for name, service in {"order": order, "scm": scm, "adapter": adapter, "console": console}.items():
        found[name] = tmp_path / f"{name}.json"
        found[name].write_bytes((await service.http.get("/openapi.json")).content)
    return found


async def run(folder: Path, program: Path, *arguments: object) -> str:
    """Run a program in a folder and return its output; fail if it does."""
    process = await asyncio.create_subprocess_exec(
        program,
        *map(str, arguments),
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "*"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def test_python_clients_are_complete(order: Served, documents: dict[str, Path], tmp_path: Path) -> None:
    """Nothing is left out, every module can be imported, and the Order service's client works."""
    for name, document in documents.items():
        client = f"{name}_client"
        generate = ["generate", "--path", document, "--output-path", tmp_path / client, "--meta", "none"]
        assert "Warning" not in await run(tmp_path, PYTHON / "openapi-python-client", *generate)
        await run(tmp_path, PYTHON / "python", "-c", IMPORTS.format(client))
    printed = await run(tmp_path, PYTHON / "python", "-c", CALLS, order.url, json.dumps(ORDER))
    price = sum(line["quantity"] * line["unitPrice"] for line in ORDER["orderLines"])
    assert json.loads(printed) == [201, ORDER["buyer"]["name"], price, "/problems#version-mismatch"]


async def test_typescript_clients_compile(documents: dict[str, Path], tmp_path: Path) -> None:
    """With strict types."""
    for name, document in documents.items():
        await run(tmp_path, NODE / ".bin" / "openapi-typescript", document, "-o", f"{name}.ts")
    files = [f"{name}.ts" for name in documents]
    await run(tmp_path, NODE / ".bin" / "tsc", "--noEmit", "--strict", *files)
