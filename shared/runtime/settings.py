"""Settings of a process, read from environment variables and validated before it starts."""

import os
import re
import socket
import sys
from typing import Annotated, Literal, NoReturn, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.runtime.browser_requests import ANY_HOST, LOOPBACK_HOSTS
from shared.runtime.telemetry import LogFormat
from shared.runtime.tokens import (
    DEVELOPMENT_DATABASE_PASSWORD,
    DEVELOPMENT_OPERATOR,
    NamedToken,
    NamedTokens,
    Token,
    has_development_token,
)


def _postgres_url(value: str) -> str:
    if not value.startswith("postgresql://"):
        raise ValueError("must begin with postgresql://")
    _host(value)
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if not _host(value):
        raise ValueError("must have a host")
    return value


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its message may contain a part of the password
        raise ValueError("must have a valid host and port") from None
    if url.split() != [url]:
        raise ValueError("must not contain spaces")
    return parts.hostname


_ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104


def _hosts(value: object) -> object:
    """Parse host names that are separated by commas."""
    if not isinstance(value, str):
        return value
    hosts = tuple(part.strip().lower() for part in value.split(","))
    for host in hosts:
        if host != ANY_HOST and not _HOST.fullmatch(host):
            raise ValueError(
                "must be host names without scheme and port, separated by commas, such as shop.example; "
                f"{ANY_HOST} accepts any"
            )
    return hosts


_HOST = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_.-]+")


def _listening_host(value: str) -> str:
    if not _LISTENING_HOST.fullmatch(value):
        raise ValueError("must be a host name or an IP address")
    return value


_LISTENING_HOST = re.compile(r"[A-Za-z0-9._:%-]+")

ListeningHost = Annotated[str, AfterValidator(_listening_host)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)]
PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


class EnvironmentSettings(BaseSettings):
    """Base class of settings. Variables are named after the fields, in capitals: `LOG_LEVEL`."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, hide_input_in_errors=True)


class MigrationSettings(EnvironmentSettings):
    """Environment variables of a service's `migrate` command."""

    database_url: PostgresUrl = Field(repr=False)


class ServiceSettings(EnvironmentSettings):
    """Environment variables of every service."""

    environment: Literal["development", "production"] = "production"
    """In development, missing topics and queues are created; in production they prevent the start."""
    host: ListeningHost = "127.0.0.1"
    port: Port
    allowed_hosts: Hosts = LOOPBACK_HOSTS
    """Host names by which clients reach the service; a request with another Host is rejected."""
    log_format: LogFormat = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    console_url: HttpUrl | None = None
    """Address of the console, with which the service registers; unset, it does not."""
    advertised_url: HttpUrl | None = None
    """URL at which the console reaches this instance; unset, it is made of HOST and PORT."""
    service_version: str = Field("development", max_length=200)
    """Version that operators see, such as the commit or the tag of the image."""
    aws_region: str = Field("us-east-1", pattern=r"^[a-z0-9-]+$")
    aws_endpoint_url: HttpUrl | None = None
    """Address of a local SNS/SQS server; unset for AWS."""
    service_token: Token
    """Token with which this service calls others; in development by default its `development_token`."""
    service_tokens: NamedTokens = Field((), validate_default=True)
    """Tokens of the services that may call this one: `name:token`, separated by commas. In development all
    services may by default, with their development tokens."""
    operator_tokens: NamedTokens = Field((DEVELOPMENT_OPERATOR,), validate_default=True)
    """Tokens of operators: `name:token`, separated by commas."""

    @field_validator("*", mode="before")
    @classmethod
    def _validate_no_development_token(cls, value: object, info: ValidationInfo) -> object:
        """Look into every variable: a token may be part of a URL. Those for tokens have their own message."""
        is_checked = isinstance(value, str) and not (info.field_name or "").startswith(
            ("service_token", "operator")
        )
        if is_checked and has_development_token(unquote(str(value))) and _is_production(info):
            raise ValueError("must not contain a development token in production")
        return value

    @field_validator("database_url", check_fields=False)
    @classmethod
    def _validate_database_password(cls, url: str, info: ValidationInfo) -> str:
        if _database_password(url).lower() == DEVELOPMENT_DATABASE_PASSWORD and _is_production(info):
            raise ValueError(
                "must not have the development password in production (in the URL or PGPASSWORD)"
            )
        return url

    @field_validator("service_token")
    @classmethod
    def _validate_service_token(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        _reject_in_production(_is_development_token(token), info)
        return token

    @field_validator("service_tokens")
    @classmethod
    def _validate_service_tokens(
        cls, services: tuple[NamedToken, ...], info: ValidationInfo
    ) -> tuple[NamedToken, ...]:
        is_development_default = not services or any(_is_development_token(each.token) for each in services)
        _reject_in_production(is_development_default, info)
        return services

    @field_validator("operator_tokens")
    @classmethod
    def _validate_operator_tokens(
        cls, operators: tuple[NamedToken, ...], info: ValidationInfo
    ) -> tuple[NamedToken, ...]:
        tokens = [operator.token for operator in reject_development_tokens(operators, info)]
        if info.data.get("service_token") in tokens:
            raise ValueError("must not contain SERVICE_TOKEN")
        if any(each.token in tokens for each in info.data.get("service_tokens", ())):
            raise ValueError("must not contain a token of SERVICE_TOKENS")
        return operators

    @property
    def instance_url(self) -> str:
        """URL at which other hosts reach this process."""
        if self.advertised_url is not None:
            return self.advertised_url
        host = socket.gethostname() if self.host in _ALL_INTERFACES else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def accepted_hosts(self) -> tuple[str, ...]:
        """`allowed_hosts`, and the host of `instance_url`, by which the console calls this process."""
        host = urlsplit(self.instance_url).hostname or ""
        return (*self.allowed_hosts, f"[{host}]" if ":" in host else host)

    @property
    def is_development(self) -> bool:
        return self.environment == "development"

    @property
    def creates_topology(self) -> bool:
        return self.is_development


def reject_development_tokens(tokens: tuple[NamedToken, ...], info: ValidationInfo) -> tuple[NamedToken, ...]:
    """Return the tokens. Raises ValueError in production if one of them is a development token."""
    _reject_in_production(any(_is_development_token(each.token) for each in tokens), info)
    return tokens


def _is_development_token(token: SecretStr) -> bool:
    return has_development_token(token.get_secret_value())


def _database_password(url: str) -> str:
    """Return the password that drivers use: that of the URL, or PGPASSWORD."""
    parts = urlsplit(url)
    [in_query] = parse_qs(parts.query).get("password", [""])[-1:]
    return in_query or unquote(parts.password or "") or os.environ.get("PGPASSWORD", "")


def _is_production(info: ValidationInfo) -> bool:
    return bool(info.data.get("environment", "production") == "production")


def _reject_in_production(is_development_default: bool, info: ValidationInfo) -> None:
    if is_development_default and _is_production(info):
        raise ValueError("must be set in production and differ from the development default")


S = TypeVar("S", bound=EnvironmentSettings)


def load(settings_type: type[S], service: str) -> S:
    """Return the settings from the environment. Ends the process with a message if they are invalid."""
    try:
        return settings_type()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        exit_with_error(service, "; ".join(_problem(**problem) for problem in problems))


def exit_with_error(service: str, reason: object) -> NoReturn:
    """End the process with exit code 2 after printing the lines of the reason to standard error."""
    for line in str(reason).splitlines():
        print(f"{service}: {line}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def _problem(*, loc: tuple[int | str, ...], type: str, msg: str, **_: object) -> str:
    reason = "is not set" if type == "missing" else f"is invalid: {msg.removeprefix('Value error, ')}"
    return f"environment variable {str(loc[0]).upper()} {reason}"
