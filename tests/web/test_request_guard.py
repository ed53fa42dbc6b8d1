"""Requests that a page of another site made a browser send, and the OpenAPI page."""

import socket
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from services.order.settings import Settings
from shared.runtime.settings import load
from shared.web import RequestGuard
from tests.console.browser import browser
from tests.order.test_api import ORDER, PROBLEM
from tests.serving import OPERATOR, Served

CROSS_SITE = {"sec-fetch-site": "cross-site"}
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1:8001", "localhost:x", ""]
)
async def test_a_host_that_is_not_allowed_is_rejected(
    order: Served, scm: Served, adapter: Served, console: Served, host: str
) -> None:
    """In every service, for every path: 421, whatever the token. It prevents DNS rebinding."""
    for service in (order, scm, adapter, console):
        for path in ("/livez", "/metrics", "/openapi.json", "/docs", "/nothing"):
            answer = await service.http.get(path, headers={"host": host, **OPERATOR})
            assert (answer.status_code, answer.headers["content-type"]) == (421, PROBLEM)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8001", "127.0.0.1:1", "[::1]", "[::1]:8001"])
async def test_loopback_is_allowed_by_default(lone_order: Served, host: str) -> None:
    """On any port: the local one may be forwarded."""
    assert (await lone_order.http.get("/livez", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        CROSS_SITE,
        CROSS_SITE | {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        CROSS_SITE | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
    ids=str,
)
async def test_requests_of_other_sites_are_rejected(
    order: Served, scm: Served, adapter: Served, console: Served, headers: dict[str, str]
) -> None:
    """In every service: 403, before anything else is looked at."""
    for service in (order, scm, adapter, console):
        for method, path in (
            ("GET", "/livez"),
            ("GET", "/nothing"),
            ("POST", "/orders"),
            ("OPTIONS", "/orders"),
        ):
            answer = await service.http.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)


async def test_requests_of_the_service_s_own_page_are_accepted(lone_order: Served) -> None:
    own = {"origin": lone_order.url, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert (await lone_order.http.post("/orders", json=ORDER, headers=own)).status_code == 201


async def test_a_link_on_another_site_leads_to_the_page(lone_order: Served) -> None:
    """Following it is a navigation, which is accepted with GET only: a form of that site is not."""
    link = CROSS_SITE | NAVIGATION
    assert (await lone_order.http.get("/docs", headers=link)).status_code == 200
    assert (await lone_order.http.post("/orders", json=ORDER, headers=link)).status_code == 403


async def test_the_guard_protects_any_application() -> None:
    """With its own list of hosts; `*` allows all."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def status(*allowed: str, host: str = "shop.example") -> int:
        transport = httpx.ASGITransport(RequestGuard(application, allowed_hosts=allowed))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
            return (await http.get("/")).status_code

    assert await status("shop.example") == 204
    assert await status("localhost") == 421
    assert await status("*") == 204


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("shop.example", ("shop.example",)),
        ("Shop.example, localhost,[::1]", ("shop.example", "localhost", "[::1]")),
        ("*", ("*",)),
        ("", ("localhost", "127.0.0.1", "[::1]")),
    ],
)
def test_allowed_hosts_are_a_setting(
    monkeypatch: pytest.MonkeyPatch, value: str, hosts: tuple[str, ...]
) -> None:
    environment = {"ALLOWED_HOSTS": value, "ENVIRONMENT": "development", "PORT": "1"}
    for name, text in (environment | {"DATABASE_URL": "postgresql://orders"}).items():
        monkeypatch.setenv(name, text)
    assert load(Settings, "order").allowed_hosts == hosts


def test_the_console_may_call_an_instance_by_its_advertised_name() -> None:
    """Which is the host's name where the service listens on all interfaces."""

    def accepted(**settings: Any) -> tuple[str, ...]:
        return Settings(
            database_url="postgresql://orders", environment="development", port=8001, **settings
        ).accepted_hosts

    assert "10.0.0.7" in accepted(advertised_url="http://10.0.0.7:8001")
    assert socket.gethostname() in accepted(host="0.0.0.0")
    assert "[fd00::7]" in accepted(host="fd00::7")


@pytest.mark.parametrize("value", ["http://shop.example", "shop.example:80", "*.example", "a b", ","])
def test_a_malformed_host_prevents_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", value)
    with pytest.raises(SystemExit):
        load(Settings, "order")
    assert "ALLOWED_HOSTS is invalid: must be host names without scheme and port" in capsys.readouterr().err


async def test_the_openapi_page_needs_no_other_site(
    lone_order: Served,
) -> None:
    """It renders every endpoint from files of the service, within its Content-Security-Policy."""
    requested, errors = list[str](), list[str]()
    async with browser() as opened:
        page = await opened.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        response = await page.goto(f"{lone_order.url}/docs")
        assert response is not None
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        await page.get_by_text("/orders/{order_id}/complete").wait_for()
    assert all(url.startswith((lone_order.url, "data:")) for url in requested)
    assert errors == []
