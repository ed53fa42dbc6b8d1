"""ConsoleApi: REST client of the commands, with the operator's token."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import httpx
import typer

from shared.runtime.settings import EnvironmentSettings, load
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, Token, bearer

Url = Annotated[str, typer.Option("--url", envvar="CONSOLE_URL", help="Address of the console.")]
HERE = "http://127.0.0.1:8000"

_TIMEOUT = 60.0
"""Seconds for one response; browsing long queues takes a while."""


class OperatorSettings(EnvironmentSettings):
    """Token of the operator. Unset, that of the developer of a local system."""

    operator_token: Token = DEVELOPMENT_OPERATOR.token


class ConsoleApi:
    """REST client of the console. A rejected request ends the process with one line and exit code 2."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._ask("POST", path, json=body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            answer = self._http.request(method, path, **request)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            refuse(f"the console at {self._http.base_url} does not answer: {error}")
        if answer.is_error:
            refuse(_reason(answer))
        return answer.json() if answer.content else None


@contextmanager
def console_at(url: str) -> Iterator[ConsoleApi]:
    headers = bearer(load(OperatorSettings, "console").operator_token)
    try:
        http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT)
    except httpx.InvalidURL as error:
        refuse(f"{url} is no URL (CONSOLE_URL, --url): {error}")
    with http:
        yield ConsoleApi(http)


def refuse(reason: object) -> NoReturn:
    """End the process with one line and exit code 2."""
    typer.echo(f"error: {' '.join(str(reason).split())}", err=True)
    raise SystemExit(2)


def _reason(answer: httpx.Response) -> str:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, LookupError, TypeError):
        return f"{answer.url} answered HTTP {answer.status_code}"
    is_about_access = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
    return f"{detail} (OPERATOR_TOKEN)" if is_about_access else detail
