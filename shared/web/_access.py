"""Authentication with bearer tokens (RFC 6750), as dependencies of endpoints.

    @router.get("/event-log", dependencies=[AnyAccess])   # services and operators
    async def event_log(…): …

    @router.post("/events")
    async def post_events(…, caller: AnyCaller): …        # name of the service or operator

    @router.put("/{sku}")
    async def count(…, operator: Operator): …   # name of the operator, for audit records

An endpoint without one of these dependencies is public.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from shared.runtime.tokens import NamedToken, development_service
from shared.web._components import components
from shared.web._problem import Problem


@dataclass(frozen=True)
class Caller:
    """A service or an operator, by its token."""

    name: str
    is_service: bool


class Access:
    """Tokens that a service accepts: those of other services and of operators.

    With `development`, a service may also have its development token (`development_token`).
    """

    def __init__(
        self,
        service_tokens: Sequence[NamedToken],
        operator_tokens: Sequence[NamedToken],
        *,
        development: bool = False,
    ) -> None:
        self._services = _digests(service_tokens)
        self._operators = _digests(operator_tokens)
        self._development = development

    def service(self, token: str) -> str | None:
        """Return the name of the service with this token, None for an unknown token."""
        return _name(self._services, token) or (development_service(token) if self._development else None)

    def operator(self, token: str) -> str | None:
        """Return the name of the operator with this token, None for an unknown token."""
        return _name(self._operators, token)


_Digests = list[tuple[str, bytes]]


def _digests(tokens: Sequence[NamedToken]) -> _Digests:
    return [(each.name, _digest(each.token.get_secret_value())) for each in tokens]


def _name(digests: _Digests, token: str) -> str | None:
    """Compare with all tokens, so that the duration reveals nothing."""
    digest = _digest(token)
    names = [name for name, known in digests if hmac.compare_digest(known, digest)]
    return names[0] if names else None


def _digest(token: str) -> bytes:
    """Return a digest of fixed length: the duration of comparing tokens themselves reveals their length."""
    return hashlib.sha256(token.encode()).digest()


_service_token = HTTPBearer(scheme_name="serviceToken", description="Token of a service", auto_error=False)
_operator_token = HTTPBearer(
    scheme_name="operatorToken", description="Token of an operator", auto_error=False
)

_Credentials = HTTPAuthorizationCredentials | None


# Coroutines, although they never wait: FastAPI runs a plain function in a thread.


async def _service(request: Request, credentials: Annotated[_Credentials, Security(_service_token)]) -> str:
    access, token = _authenticate(request, credentials, "a service")
    name = access.service(token)
    if name is None:
        raise _rejection("a service", is_known=access.operator(token) is not None)
    return name


async def _operator(request: Request, credentials: Annotated[_Credentials, Security(_operator_token)]) -> str:
    access, token = _authenticate(request, credentials, "an operator")
    name = access.operator(token)
    if name is None:
        raise _rejection("an operator", is_known=access.service(token) is not None)
    return name


async def _optional_operator(
    request: Request, credentials: Annotated[_Credentials, Security(_operator_token)]
) -> str | None:
    access = components(request.app).get(Access)
    return access.operator(credentials.credentials) if credentials else None


async def _any(
    request: Request,
    credentials: Annotated[_Credentials, Security(_service_token)],
    _: Annotated[_Credentials, Security(_operator_token)] = None,  # the alternative in the OpenAPI document
) -> Caller:
    access, token = _authenticate(request, credentials, "a service or an operator")
    if service := access.service(token):
        return Caller(service, is_service=True)
    if operator := access.operator(token):
        return Caller(operator, is_service=False)
    raise _unauthenticated("Unknown token")


_RULES = (_service, _operator, _any)

_rules_of: dict[Any, Sequence[Any]] = {}
"""Access rules by endpoint."""


async def authenticate(scope: Scope) -> None:
    """Apply the access rules of the request's endpoint, before its body is read. Raises Problem."""
    endpoint = scope.get("endpoint")
    rules = _rules_of.get(endpoint)
    if rules is None:
        dependant = getattr(scope.get("route"), "dependant", None)
        rules = _rules_of[endpoint] = list(_rules(dependant)) if dependant else ()
    if rules:
        request = Request(scope)
        credentials = await _service_token(request)
        for rule in rules:
            await rule(request, credentials)


def _rules(dependant: Dependant) -> Iterator[Any]:
    if dependant.call in _RULES:
        yield dependant.call
    for each in dependant.dependencies:
        yield from _rules(each)


def _authenticate(request: Request, credentials: _Credentials, role: str) -> tuple[Access, str]:
    if credentials is None:
        raise _unauthenticated(f"Token of {role} required: `Authorization: Bearer …`")
    return components(request.app).get(Access), credentials.credentials


def _rejection(role: str, *, is_known: bool) -> Problem:
    if is_known:
        return Problem(403, f"Insufficient permissions: token of {role} required")
    return _unauthenticated("Unknown token")


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, detail, headers={"www-authenticate": "Bearer"})


OperatorAccess = Depends(_operator)
AnyAccess = Depends(_any)
"""Access for services and operators."""
AnyCaller = Annotated[Caller, AnyAccess]
"""Access for services and operators. The value is the caller."""
Service = Annotated[str, Depends(_service)]
"""Access for services. The value is the service's name."""
Operator = Annotated[str, OperatorAccess]
"""Access for operators. The value is the operator's name."""
OptionalOperator = Annotated[str | None, Depends(_optional_operator)]
"""Name of the operator, None for all other clients. For public endpoints that return more to operators."""
OPTIONAL_TOKEN: dict[str, Any] = {"security": [{}]}
"""`openapi_extra` of an endpoint with an OptionalOperator."""
