"""Bearer tokens of services and operators. No error message and no `repr` contains a token."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

MIN_LENGTH = 16
"""Minimum number of characters. Generate a token with `openssl rand -base64 32`."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # the `b64token` of RFC 6750
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class NamedToken:
    """Token of an operator or a service, and its name."""

    name: str
    token: SecretStr


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < MIN_LENGTH:
        raise ValueError(f"a token must have at least {MIN_LENGTH} characters")
    if not _TOKEN.fullmatch(text):
        raise ValueError("a token must consist of letters, digits and -._~+/ with optional = at the end")
    return value


def _named_tokens(value: object) -> object:
    """Parse `name:token,name:token`. A name may be repeated, so that its token can be replaced."""
    if not isinstance(value, str):
        return value
    tokens = tuple(_named_token(part.strip()) for part in value.split(","))
    if len({each.token.get_secret_value() for each in tokens}) < len(tokens):
        raise ValueError("a token must not occur twice")
    return tokens


def _named_token(part: str) -> NamedToken:
    name, colon, token = part.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise ValueError(
            "must be name:token, separated by commas; a name consists of letters, digits and ._@-"
        )
    return NamedToken(name, _token(SecretStr(token)))


Token = Annotated[SecretStr, AfterValidator(_token)]
NamedTokens = Annotated[tuple[NamedToken, ...], NoDecode, BeforeValidator(_named_tokens)]


def bearer(token: SecretStr) -> dict[str, str]:
    """Return the Authorization header with this token."""
    return {"authorization": f"Bearer {token.get_secret_value()}"}


DEVELOPMENT_OPERATOR = NamedToken("developer", SecretStr("development-operator-token"))

_DEVELOPMENT_SERVICE = re.compile(r"development-([a-z0-9-]+)-service-token")


def development_token(service: str) -> SecretStr:
    """Return the development token of a service."""
    return SecretStr(f"development-{service}-service-token")


_ANY_DEVELOPMENT_TOKEN = re.compile(r"development-(operator|[a-z0-9-]+-service)-token", re.IGNORECASE)

DEVELOPMENT_DATABASE_PASSWORD = "postgres"  # noqa: S105
"""Password of docker-compose.yml."""


def has_development_token(text: str) -> bool:
    """Return whether the text has the development token of a service or the operator anywhere in it."""
    return _ANY_DEVELOPMENT_TOKEN.search(text) is not None


def development_service(token: str) -> str | None:
    """Return the name of the service whose development token it is, None for any other token."""
    match = _DEVELOPMENT_SERVICE.fullmatch(token)
    return match[1] if match else None
