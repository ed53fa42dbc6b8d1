"""`make smoke`: start the containers, send one order through them, and remove them again."""

import asyncio
import os
import secrets
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from local.order import ORDER
from local.ports import Ports
from local.program import Program, ProgramFailed
from local.services import SERVICES, variable
from local.system import DEVELOPMENT_TOKENS, OPERATOR, CannotStart

_ROOT = Path(__file__).parent.parent
_LOG = _ROOT / ".local" / "logs" / "smoke.log"

_HEALTHY_TIMEOUT = 180
_INVOICE_TIMEOUT = 60.0


async def run_smoke() -> int:
    """Return 0 if the order gets its invoice. Raises CannotStart, and ProgramFailed if it does not."""
    _check_docker()
    console = Console(highlight=False, soft_wrap=True)
    try:
        async with (
            _containers(console) as ports,
            httpx.AsyncClient(base_url=ports.url("order"), timeout=10, trust_env=False) as order,
            httpx.AsyncClient(
                base_url=ports.url("scm"), headers=OPERATOR, timeout=10, trust_env=False
            ) as scm,
        ):
            await _send_order(console, order, scm)
    except httpx.HTTPError as error:
        raise ProgramFailed(f"unexpected answer: {error!r}") from error
    console.print("[bold green]The order has its invoice.[/]")
    return 0


def _check_docker() -> None:
    """Raises CannotStart without a Docker engine or without compose."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        except subprocess.CalledProcessError as error:
            raise _no_docker((error.stderr.strip() or str(error)).splitlines()[0]) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _no_docker(error) from error


def _no_docker(reason: object) -> CannotStart:
    return CannotStart(f"make smoke needs a running Docker engine with compose v2: {reason}")


@asynccontextmanager
async def _containers(console: Console) -> AsyncIterator[Ports]:
    """Build and start all containers, on ports of their own; remove them at the end."""
    compose = _Compose(Ports.free())
    try:
        console.print(f"[bold]Building and starting[/] containers {compose.project}-*, log {_LOG} …")
        began = time.monotonic()
        await compose.up()
        console.print(f"  all healthy after {time.monotonic() - began:.1f} s")
        yield compose.ports
    except Exception:
        console.print(compose.last_logs(), markup=False)
        raise
    finally:
        console.print("[bold]Removing[/] containers, volumes and images …")
        compose.down()


class _Compose:
    """docker compose under a random project name, apart from any other containers."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.project = f"smoke-{secrets.token_hex(4)}"
        self._command = ["docker", "compose", "--project-name", self.project]
        self._command += ["--file", str(_ROOT / "docker-compose.yml")]
        own_ports = {variable(name, "PORT"): str(port) for name, port in ports.by_name.items()}
        own_tokens = {variable(each.name, "TOKEN"): "" for each in SERVICES} | DEVELOPMENT_TOKENS
        self._environment = own_ports | own_tokens  # take precedence over `.env`

    async def up(self) -> None:
        """Return when all containers are healthy. Raises ProgramFailed."""
        wait = ["--detach", "--wait", "--wait-timeout", str(_HEALTHY_TIMEOUT)]
        up = Program("docker compose", [*self._command, "up", "--build", *wait], self._environment, log=_LOG)
        await up.start()
        try:
            await up.wait_for_success()
        finally:
            await up.stop()

    def last_logs(self) -> str:
        return self._run("logs", "--no-color", "--tail", "20").stdout

    def down(self) -> None:
        """Block, so that a second Ctrl-C cannot leave containers behind. Raises ProgramFailed."""
        done = self._run("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1")
        if done.returncode:
            raise ProgramFailed(f"the containers {self.project}-* could not be removed: {done.stdout}")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments],
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,
        )


async def _send_order(console: Console, order: httpx.AsyncClient, scm: httpx.AsyncClient) -> None:
    """Raises httpx.HTTPError or ProgramFailed."""
    for line in ORDER["orderLines"]:
        answer = await scm.put(f"/back-office/stock/{line['sku']}", json={"onHand": line["quantity"]})
        answer.raise_for_status()
    placed = await order.post("/orders", json=ORDER)
    order_id = placed.raise_for_status().json()["id"]
    (await order.post(f"/orders/{order_id}/complete")).raise_for_status()
    console.print(f"  order {order_id} is placed and paid")

    invoice = (await _prepared(order, order_id))["invoiceId"]
    console.print(f"  it is PREPARING, with the invoice {invoice}")
    invoices = await scm.get("/external-api/invoices", params={"orderId": order_id})
    issued = [each["id"] for each in invoices.raise_for_status().json()]
    if issued != [invoice]:
        raise ProgramFailed(f"expected one invoice of SCM, {invoice}, but found {issued}")
    console.print("  SCM issued this invoice and no other")


async def _prepared(order: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    """Return the order once it is PREPARING and has its invoice. Raises ProgramFailed."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(_INVOICE_TIMEOUT):
            while found.get("status") != "PREPARING" or not found.get("invoiceId"):
                await asyncio.sleep(0.1)
                found = (await order.get(f"/orders/{order_id}")).raise_for_status().json()
    except TimeoutError:
        is_now = f"{found.get('status')}, with the invoice {found.get('invoiceId')}"
        raise ProgramFailed(f"after {_INVOICE_TIMEOUT:g} s the order is still {is_now}") from None
    return found
