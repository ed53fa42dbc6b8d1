"""Settings: what a process reads from its environment, checked before anything starts."""

import sys
from typing import Annotated, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.runtime.telemetry import LogFormat
from shared.runtime.tokens import (
    DEVELOPMENT_OPERATOR,
    DEVELOPMENT_SERVICE,
    OperatorToken,
    OperatorTokens,
    Token,
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
        raise ValueError("names no host")
    return value


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # whose message may have a part of the password in it
        raise ValueError("host and port cannot be read") from None
    if url.split() != [url]:
        raise ValueError("has a space in it")
    return parts.hostname


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


class EnvironmentSettings(BaseSettings):
    """Read from environment variables; the name of a variable is the field's in capitals: `LOG_LEVEL`."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, hide_input_in_errors=True)


class MigrationSettings(EnvironmentSettings):
    """What a service's `migrate` command reads."""

    database_url: PostgresUrl = Field(repr=False)


class ServiceSettings(EnvironmentSettings):
    """What every service reads."""

    environment: Literal["development", "production"] = "production"
    """In development, topics and queues are created; in production, a missing one is a start-up error."""
    host: str = "127.0.0.1"
    port: Port
    log_format: LogFormat = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    aws_region: str = Field("us-east-1", pattern=r"^[a-z0-9-]+$")
    aws_endpoint_url: HttpUrl | None = None
    """Where the local SNS/SQS server is; unset, AWS itself is used."""
    service_token: Token = Field(DEVELOPMENT_SERVICE, validate_default=True)
    """What the services show each other; the same in all of them."""
    operator_tokens: OperatorTokens = Field((DEVELOPMENT_OPERATOR,), validate_default=True)
    """The people who may operate the system: `name:token`, and more of them after a comma."""

    @field_validator("service_token")
    @classmethod
    def _service_token_is_secret(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        _refuse_in_production(token == DEVELOPMENT_SERVICE, info)
        return token

    @field_validator("operator_tokens")
    @classmethod
    def _operator_tokens_are_secret(
        cls, operators: tuple[OperatorToken, ...], info: ValidationInfo
    ) -> tuple[OperatorToken, ...]:
        tokens = [operator.token for operator in operators]
        _refuse_in_production(DEVELOPMENT_OPERATOR.token in tokens, info)
        if info.data.get("service_token") in tokens:
            raise ValueError("an operator has the services' token")
        return operators

    @property
    def is_development(self) -> bool:
        return self.environment == "development"

    @property
    def creates_topology(self) -> bool:
        return self.is_development


def _refuse_in_production(is_known_to_everybody: bool, info: ValidationInfo) -> None:
    if is_known_to_everybody and info.data.get("environment", "production") == "production":
        raise ValueError("must be set in production, and not to what it is in development")


S = TypeVar("S", bound=EnvironmentSettings)


def load(settings_type: type[S], service: str) -> S:
    """The settings from the environment. Ends the process, with a line per variable, when they are wrong."""
    try:
        return settings_type()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        refuse_to_start(service, "; ".join(_problem(**problem) for problem in problems))


def refuse_to_start(service: str, reason: object) -> NoReturn:
    """Ends the process with a line that says why, or several when the reason has several."""
    for line in str(reason).splitlines():
        print(f"{service}: {line}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def _problem(*, loc: tuple[int | str, ...], type: str, msg: str, **_: object) -> str:
    reason = "is not set" if type == "missing" else f"is wrong: {msg.removeprefix('Value error, ')}"
    return f"environment variable {str(loc[0]).upper()} {reason}"
