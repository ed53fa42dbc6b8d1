"""Authentication: permissions of services and operators, rejections, and no disclosure of tokens."""

import json
import re
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from local.ports import free_ports
from services.adapter.main import create_app as create_adapter
from services.adapter.settings import Settings as AdapterSettings
from services.console.settings import Settings as ConsoleSettings
from services.order.main import create_app
from services.order.settings import Settings
from services.scm.settings import Settings as ScmSettings
from shared.runtime.settings import EnvironmentSettings, load
from shared.runtime.tokens import NamedToken, bearer, development_token
from shared.web import AnyCaller, Operator
from tests.adapter.test_adapter import BATCH, event
from tests.order.test_api import ORDER
from tests.serving import (
    OPERATOR,
    PRODUCTION_TOKENS,
    SERVICE,
    URL,
    Served,
    eventually,
    order_service,
    serving,
)

UNKNOWN = bearer(SecretStr("a-token-that-is-unknown"))
BASIC = {"authorization": "Basic ZGV2ZWxvcGVyOmRldmVsb3BtZW50LW9wZXJhdG9yLXRva2Vu"}
ENVIRONMENT = {"DATABASE_URL": "postgresql://orders", **PRODUCTION_TOKENS}
TOKEN = PRODUCTION_TOKENS["SERVICE_TOKEN"]
OF_ORDER = PRODUCTION_TOKENS["SERVICE_TOKENS"].removeprefix("order:")
OF_KIM = PRODUCTION_TOKENS["OPERATOR_TOKENS"].removeprefix("kim:")


SCM = bearer(development_token("scm"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (BASIC, 401), (UNKNOWN, 401), (SCM, 403), (SERVICE, 200), (OPERATOR, 200)],
    ids=["no token", "no bearer", "unknown", "another service", "the source", "an operator"],
)
async def test_a_service_sends_its_own_events_only(
    adapter: Served, headers: dict[str, str], status: int
) -> None:
    """The token is bound to the `source` of the events. An operator replays those of any service."""
    content = json.dumps([event()])
    answer = await adapter.http.post(
        "/events", content=content, headers={"content-type": BATCH["content-type"]} | headers
    )
    if status == 200:
        assert answer.json()["results"][0]["decision"] == "forwarded"
    else:
        assert_rejected(answer, status)


async def test_one_foreign_event_rejects_the_batch(adapter: Served) -> None:
    """Nothing of it is published: the sender is configured wrongly, or not what it claims to be."""
    batch = json.dumps([event(), event() | {"source": "scm"}])
    answer = await adapter.http.post("/events", content=batch, headers=BATCH)
    assert_rejected(answer, 403)
    assert answer.json()["detail"] == "the token is that of order, which must be the source of every event"
    assert (await adapter.http.get("/progress")).json()["bridge"]["published"] == {}


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (BASIC, 401), (UNKNOWN, 401), (SERVICE, 403)])
async def test_only_operators_set_the_stock(scm: Served, headers: dict[str, str], status: int) -> None:
    """A rejected request changes nothing."""
    path, body = "/back-office/stock/MUG-01", {"onHand": 1}
    assert_rejected(await scm.http.put(path, json=body, headers=headers), status)
    assert (await scm.http.get("/back-office/stock")).json() == []
    assert (await scm.http.put(path, json=body, headers=OPERATOR)).status_code == 200


PUBLIC = {
    ("POST", "/orders"),
    ("POST", "/orders/{order_id}/complete"),
    ("POST", "/orders/{order_id}/cancel"),
    ("PUT", "/orders/{order_id}/delivery-address"),
    ("PUT", "/orders/{order_id}/memo"),
    ("POST", "/api/routes/explain"),
}
"""Public endpoints other than reads: commands of buyers, and a read with a body."""


async def test_all_other_commands_require_a_token(
    order: Served, scm: Served, adapter: Served, console: Served
) -> None:
    """For all endpoints: 401 without a token; 403 with one of the wrong role, but both may send events."""
    for service in (order, scm, adapter, console):
        paths = (await service.http.get("/openapi.json")).json()["paths"]
        commands = [(each.upper(), path, found) for path, of in paths.items() for each, found in of.items()]
        for method, path, operation in commands:
            if method == "GET" or (method, path) in PUBLIC:
                continue
            url = re.sub(r"\{\w+\}", "1", path)
            assert_rejected(await service.http.request(method, url), 401)
            if path != "/events":
                wrong_role = OPERATOR if operation["security"] == [{"serviceToken": []}] else SERVICE
                assert_rejected(await service.http.request(method, url, headers=wrong_role), 403)


def assert_rejected(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


async def test_an_endpoint_gets_the_name_of_the_operator() -> None:
    """For audit records. A name may have several tokens, so that one can be replaced."""
    app = create_app(settings_of(OPERATOR_TOKENS=f"kim:{OF_KIM}, lee:{OF_KIM}2,kim:{OF_KIM}3"))

    @app.get("/me")
    async def me(operator: Operator) -> str:
        return operator

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as http:
        names = [
            (await http.get("/me", headers=bearer(SecretStr(token)))).json()
            for token in (OF_KIM, f"{OF_KIM}2", f"{OF_KIM}3")
        ]
    assert names == ["kim", "lee", "kim"]


async def test_events_wait_while_the_adapter_rejects_the_service_token(
    order_database: str, aws_url: str
) -> None:
    """No event is to blame: none counts an attempt or is parked, `/readyz` reports the reason, and the events
    leave once the token is correct."""
    [port] = free_ports(1)

    def adapter(**settings: Any) -> Any:
        return serving(
            create_adapter(AdapterSettings(environment="development", aws_endpoint_url=aws_url, **settings)),
            port,
        )

    async with order_service(order_database, aws_url, f"http://127.0.0.1:{port}") as order:
        async with adapter(service_tokens=(NamedToken("order", SecretStr(OF_ORDER)),)):
            order_id = (await order.http.post("/orders", json=ORDER)).json()["id"]

            async def degraded_reason() -> str | None:
                reason: str = (await order.http.get("/readyz")).json()["checks"]["relay"]
                return reason if "401" in reason else None

            reason = await eventually(degraded_reason)
            assert reason.endswith(": HTTP 401, this service's token is not accepted for events of order")
            [waiting] = (await order.http.get(f"/orders/{order_id}/events")).json()["published"]
            assert (waiting["attempts"], waiting["parkedAt"], waiting["decision"]) == (0, None, None)
        async with adapter():

            async def decided() -> bool:
                events = (await order.http.get(f"/orders/{order_id}/events")).json()["published"]
                return bool(events[0]["decision"] == "held_back")

            await eventually(decided)


INVALID = [
    ("SERVICE_TOKEN", "", "must be set in production"),
    ("SERVICE_TOKEN", "development-order-service-token", "must be set in production and differ from the"),
    ("SERVICE_TOKEN", "development-operator-token", "must be set in production and differ from the"),
    ("SERVICE_TOKEN", "secret-secret-1", "a token must have at least 16 characters"),
    ("SERVICE_TOKEN", "secret secret secret", "a token must consist of letters"),
    ("SERVICE_TOKENS", "", "must be set in production"),
    ("SERVICE_TOKENS", "scm:development-scm-service-token", "must be set in production and differ from the"),
    ("SERVICE_TOKENS", "scm:development-order-service-token", "must be set in production and differ from"),
    ("SERVICE_TOKENS", "secretsecretsecret", "must be name:token, separated by commas"),
    ("SERVICE_TOKENS", "scm:secret", "a token must have at least 16 characters"),
    ("SERVICE_TOKENS", "scm:secretsecretsecret,x:secretsecretsecret", "a token must not occur twice"),
    ("OPERATOR_TOKENS", "", "must be set in production"),
    ("OPERATOR_TOKENS", "kim:development-scm-service-token", "must be set in production and differ from"),
    ("OPERATOR_TOKENS", "kim:development-operator-token", "must be set in production and differ from the"),
    ("SERVICE_TOKEN", "Development-SCM-Service-Token", "must be set in production and differ from the"),
    ("SERVICE_TOKENS", "scm:DEVELOPMENT-scm-service-token", "must be set in production and differ from"),
    ("OPERATOR_TOKENS", "kim:Development-Operator-Token", "must be set in production and differ from the"),
    ("OPERATOR_TOKENS", "kim:x-development-operator-token", "must be set in production and differ from the"),
    ("OPERATOR_TOKENS", "secretsecretsecret", "must be name:token, separated by commas"),
    ("OPERATOR_TOKENS", "secret kim:secretsecretsecret", "a name consists of letters"),
    ("OPERATOR_TOKENS", ":secretsecretsecret", "must be name:token"),
    ("OPERATOR_TOKENS", "kim:secret", "a token must have at least 16 characters"),
    ("OPERATOR_TOKENS", "kim:secret:secret:secret", "a token must consist of letters"),
    ("OPERATOR_TOKENS", "kim:secretsecretsecret,", "must be name:token"),
    (
        "OPERATOR_TOKENS",
        "kim:secretsecretsecret,lee:secretsecretsecret",
        "a token must not occur twice",
    ),
    ("OPERATOR_TOKENS", f"kim:{TOKEN}", "must not contain SERVICE_TOKEN"),
    ("OPERATOR_TOKENS", f"kim:{OF_ORDER}", "must not contain a token of SERVICE_TOKENS"),
]


@pytest.mark.parametrize(("variable", "value", "reason"), INVALID)
def test_production_does_not_start_with_an_invalid_token(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    reason: str,
) -> None:
    """One line names the variable and the reason, without any part of the value."""
    for name, text in (ENVIRONMENT | {variable: value}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as ended:
        load(Settings, "order")
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"order: environment variable {variable} is invalid: ")
    assert reason in line
    assert "secret" not in line
    assert TOKEN not in line
    assert OF_ORDER not in line


@pytest.mark.parametrize("settings", [Settings, ScmSettings, AdapterSettings, ConsoleSettings])
@pytest.mark.parametrize("token", ["", "development-order-service-token"])
def test_production_does_not_start_with_the_development_token(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[EnvironmentSettings],
    token: str,
) -> None:
    """Set explicitly or by default."""
    for name, text in (ENVIRONMENT | {"SERVICE_TOKEN": token}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit):
        load(settings, "service")
    assert (
        "environment variable SERVICE_TOKEN is invalid: must be set in production" in capsys.readouterr().err
    )


IN_VARIABLES = {
    "CONSOLE_URL": "http://console:development-operator-token@console",
    "AWS_ENDPOINT_URL": "http://aws/?token=DEVELOPMENT%2DOPERATOR%2DTOKEN",
    "ADVERTISED_URL": "http://Development-Order-Service-Token@order",
    "SERVICE_VERSION": "development-scm-service-token",
    "DATABASE_URL": "postgresql://order:development-operator-token@database/orders",
}


@pytest.mark.parametrize(
    ("settings", "variable", "value"),
    [
        (settings, variable, value)
        for variable, value in IN_VARIABLES.items()
        for settings in (Settings, ScmSettings, AdapterSettings, ConsoleSettings)
        if variable.lower() in settings.model_fields
    ],
)
def test_production_has_no_development_token_in_any_variable(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[EnvironmentSettings],
    variable: str,
    value: str,
) -> None:
    """Nor in a part of it, nor in other letters."""
    for name, text in (ENVIRONMENT | {variable: value}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit):
        load(settings, "service")
    reason = "must not contain a development token in production"
    assert capsys.readouterr().err == f"service: environment variable {variable} is invalid: {reason}\n"


@pytest.mark.parametrize("settings", [Settings, ScmSettings, ConsoleSettings])
@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://order:postgres@database/orders", ""),
        ("postgresql://order:POSTGRES@database/orders", ""),
        ("postgresql://order:%70ostgres@database/orders", ""),
        ("postgresql://order@database/orders?password=postgres", ""),
        ("postgresql://order@database/orders", "postgres"),
    ],
)
def test_production_has_no_development_password(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[EnvironmentSettings],
    url: str,
    password: str,
) -> None:
    """Of the database, in its URL or in PGPASSWORD."""
    for name, text in (ENVIRONMENT | {"DATABASE_URL": url, "PGPASSWORD": password}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit):
        load(settings, "service")
    assert "DATABASE_URL is invalid: must not have the development password" in capsys.readouterr().err
    monkeypatch.setenv("ENVIRONMENT", "development")
    load(settings, "service")


@pytest.mark.parametrize("settings", [Settings, ScmSettings, AdapterSettings, ConsoleSettings])
def test_production_requires_the_tokens_of_the_services_that_may_call(
    monkeypatch: pytest.MonkeyPatch, settings: type[EnvironmentSettings]
) -> None:
    """Without them the adapter would receive no events, and the console no registrations."""
    for name, text in (ENVIRONMENT | {"SERVICE_TOKENS": ""}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit):
        load(settings, "service")


async def test_development_tokens_are_not_accepted_besides_others() -> None:
    """They are accepted in development only, and only while SERVICE_TOKENS is not set."""
    development = bearer(development_token("scm"))
    for environment, tokens, status in (
        ("production", f"scm:{OF_ORDER}", 401),
        ("development", f"scm:{OF_ORDER}", 401),
        ("development", "", 200),
    ):
        app = create_app(settings_of(ENVIRONMENT=environment, SERVICE_TOKENS=tokens))

        @app.get("/me")
        async def me(caller: AnyCaller) -> str:
            return caller.name

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/me", headers=development)).status_code == status
            if tokens:
                assert (await http.get("/me", headers=bearer(SecretStr(OF_ORDER)))).json() == "scm"


def settings_of(**environment: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (ENVIRONMENT | environment).items():
            patch.setenv(name, text)
        return load(Settings, "order")


def test_settings_disclose_no_token() -> None:
    """Neither in their `repr`, nor in validation errors."""
    shown = repr(settings_of(DATABASE_URL="postgresql://kim:secret@here/orders"))
    with pytest.raises(ValidationError) as caught:
        Settings(database_url="postgresql://", service_token=SecretStr("secret"), environment="development")
    for text in (shown, str(caught.value), repr(caught.value)):
        assert not any(each in text for each in (TOKEN, OF_ORDER, OF_KIM, "secret"))
    assert "kim" in shown
