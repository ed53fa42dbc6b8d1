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
class OperatorToken:
    """Name and token of an operator."""

    name: str
    token: SecretStr


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < MIN_LENGTH:
        raise ValueError(f"a token must have at least {MIN_LENGTH} characters")
    if not _TOKEN.fullmatch(text):
        raise ValueError("a token must consist of letters, digits and -._~+/ with optional = at the end")
    return value


def _operator_tokens(value: object) -> object:
    """Parse `name:token,name:token`. A name may be repeated, so that its token can be replaced."""
    if not isinstance(value, str):
        return value
    operators = tuple(_operator(part.strip()) for part in value.split(","))
    if len({operator.token.get_secret_value() for operator in operators}) < len(operators):
        raise ValueError("two operators must not have the same token")
    return operators


def _operator(part: str) -> OperatorToken:
    name, colon, token = part.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise ValueError(
            "must be name:token, separated by commas; a name consists of letters, digits and ._@-"
        )
    return OperatorToken(name, _token(SecretStr(token)))


Token = Annotated[SecretStr, AfterValidator(_token)]
OperatorTokens = Annotated[tuple[OperatorToken, ...], NoDecode, BeforeValidator(_operator_tokens)]


def bearer(token: SecretStr) -> dict[str, str]:
    """Return the Authorization header with this token."""
    return {"authorization": f"Bearer {token.get_secret_value()}"}


DEVELOPMENT_SERVICE = SecretStr("development-service-token")
DEVELOPMENT_OPERATOR = OperatorToken("developer", SecretStr("development-operator-token"))
