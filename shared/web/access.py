"""Access: which callers an endpoint takes. Without one of these dependencies it takes everybody.

@router.post("/events", dependencies=[ServiceAccess])
async def take(…): …

@router.put("/{sku}")
async def count(…, operator: Operator): …   # the name of the person, for a record of who did it
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from shared.runtime.tokens import OperatorToken
from shared.web.components import components
from shared.web.problem import Problem


class Access:
    """The tokens that a service knows: the one that all services share, and one for each operator."""

    def __init__(self, service_token: SecretStr, operator_tokens: Sequence[OperatorToken]) -> None:
        self._service = _digest(service_token.get_secret_value())
        self._operators = [(each.name, _digest(each.token.get_secret_value())) for each in operator_tokens]

    def is_service(self, token: str) -> bool:
        return hmac.compare_digest(self._service, _digest(token))

    def operator(self, token: str) -> str | None:
        """Whose token it is. It is compared with all of them, so that the time tells nothing."""
        given = _digest(token)
        names = [name for name, known in self._operators if hmac.compare_digest(known, given)]
        return names[0] if names else None


def _digest(token: str) -> bytes:
    """All are equally long, or the time of a comparison would tell the length of a token."""
    return hashlib.sha256(token.encode()).digest()


_service_token = HTTPBearer(
    scheme_name="serviceToken", description="What the services show each other", auto_error=False
)
_operator_token = HTTPBearer(
    scheme_name="operatorToken", description="What a person shows who operates the system", auto_error=False
)

_Given = HTTPAuthorizationCredentials | None


# Coroutines, although they wait for nothing: FastAPI runs a plain function in a thread.


async def _service(request: Request, given: Annotated[_Given, Security(_service_token)]) -> None:
    access, token = _shown(request, given, "a service")
    if not access.is_service(token):
        raise _refused("a service", is_known=access.operator(token) is not None)


async def _operator(request: Request, given: Annotated[_Given, Security(_operator_token)]) -> str:
    access, token = _shown(request, given, "an operator")
    name = access.operator(token)
    if name is None:
        raise _refused("an operator", is_known=access.is_service(token))
    return name


async def _perhaps_operator(
    request: Request, given: Annotated[_Given, Security(_operator_token)]
) -> str | None:
    access = components(request.app).get(Access)
    return access.operator(given.credentials) if given else None


async def _any(
    request: Request,
    given: Annotated[_Given, Security(_service_token)],
    _: Annotated[_Given, Security(_operator_token)],  # told to OpenAPI as the other way in
) -> None:
    access, token = _shown(request, given, "a service or an operator")
    if not access.is_service(token) and access.operator(token) is None:
        raise _unauthenticated("nobody has this token")


def _shown(request: Request, given: _Given, who: str) -> tuple[Access, str]:
    access = components(request.app).get(Access)
    if given is None:
        raise _unauthenticated(f"show the token of {who}: `Authorization: Bearer …`")
    return access, given.credentials


def _refused(who: str, *, is_known: bool) -> Problem:
    if is_known:
        return Problem(403, f"only {who} may do this; the token is not of {who}")
    return _unauthenticated("nobody has this token")


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, detail, headers={"www-authenticate": "Bearer"})


ServiceAccess = Depends(_service)
OperatorAccess = Depends(_operator)
AnyAccess = Depends(_any)
"""Services and operators."""
Operator = Annotated[str, OperatorAccess]
PerhapsOperator = Annotated[str | None, Depends(_perhaps_operator)]
"""For what everybody may read, and an operator reads more of; None for everybody else."""
OPTIONAL_TOKEN: dict[str, Any] = {"security": [{}]}
"""The `openapi_extra` of an endpoint with a PerhapsOperator."""
