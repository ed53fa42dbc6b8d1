"""Tokens: what callers prove with who they are. Nothing here shows one, in no error and no `repr`."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

LEAST = 16
"""Characters of a token. Make one with `openssl rand -base64 32`."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750: what may stand behind `Bearer`
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class OperatorToken:
    """A person who operates the system, and this person's token."""

    name: str
    token: SecretStr


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < LEAST:
        raise ValueError(f"a token has at least {LEAST} characters")
    if not _TOKEN.fullmatch(text):
        raise ValueError("a token has letters, digits and -._~+/ only, and perhaps = at its end")
    return value


def _operator_tokens(value: object) -> object:
    """Reads `name:token,name:token`. A name may come twice, so that a token can be replaced."""
    if not isinstance(value, str):
        return value
    operators = tuple(_operator(part.strip()) for part in value.split(","))
    if len({operator.token.get_secret_value() for operator in operators}) < len(operators):
        raise ValueError("two operators have the same token")
    return operators


def _operator(part: str) -> OperatorToken:
    name, colon, token = part.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise ValueError(
            "must be name:token, and more of them after a comma; a name has letters, digits and ._@- only"
        )
    return OperatorToken(name, _token(SecretStr(token)))


Token = Annotated[SecretStr, AfterValidator(_token)]
OperatorTokens = Annotated[tuple[OperatorToken, ...], NoDecode, BeforeValidator(_operator_tokens)]


def bearer(token: SecretStr) -> dict[str, str]:
    """The header that shows it."""
    return {"authorization": f"Bearer {token.get_secret_value()}"}


DEVELOPMENT_SERVICE = SecretStr("development-service-token")
DEVELOPMENT_OPERATOR = OperatorToken("developer", SecretStr("development-operator-token"))
