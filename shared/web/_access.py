"""Authentication with bearer tokens (RFC 6750), as dependencies of endpoints.

    @router.get("/event-log", dependencies=[AnyAccess])   # services and operators
    async def event_log(…): …

    @router.post("/events")
    async def post_events(…, caller: AnyCaller): …        # name of the service or operator

    @router.put("/{sku}")
    async def count(…, operator: Operator): …             # name of the operator, for audit records

    @router.get("/{order_id}", dependencies=[ReaderAccess])
    async def read(…): …                                  # personal data: open in development only

An endpoint without one of these dependencies is public.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from shared.runtime.tokens import NamedToken, development_service
from shared.web._components import components
from shared.web._openapi import READER_SCHEME
from shared.web._problem import Problem


@dataclass(frozen=True)
class Caller:
    """A service or an operator, by its token."""

    name: str
    is_service: bool


class Access:
    """Tokens that a service accepts: those of other services, of operators and of partners by their role.

    With `development`, a service may also have its development token (`development_token`). With
    `open_reads`, ReaderAccess requires no token.
    """

    def __init__(
        self,
        service_tokens: Sequence[NamedToken],
        operator_tokens: Sequence[NamedToken],
        *,
        partner_tokens: Mapping[str, Sequence[NamedToken]] = MappingProxyType({}),
        development: bool = False,
        open_reads: bool = False,
    ) -> None:
        self._services = _digests(service_tokens)
        self._operators = _digests(operator_tokens)
        self._partners = {role: _digests(tokens) for role, tokens in partner_tokens.items()}
        self._development = development
        self.open_reads = open_reads

    def service(self, token: str) -> str | None:
        """Return the name of the service with this token, None for an unknown token."""
        return _name(self._services, token) or (development_service(token) if self._development else None)

    def operator(self, token: str) -> str | None:
        """Return the name of the operator with this token, None for an unknown token."""
        return _name(self._operators, token)

    def partner(self, role: str, token: str) -> str | None:
        """Return the name of the partner with this role and token, None for an unknown token."""
        return _name(self._partners.get(role, ()), token)

    def knows(self, token: str) -> bool:
        """Return whether anyone has this token, whatever it permits."""
        partner = any(self.partner(role, token) for role in self._partners)
        return partner or self.service(token) is not None or self.operator(token) is not None


_Digests = list[tuple[str, bytes]]


def _digests(tokens: Sequence[NamedToken]) -> _Digests:
    return [(each.name, _digest(each.token.get_secret_value())) for each in tokens]


def _name(digests: Sequence[tuple[str, bytes]], token: str) -> str | None:
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

_reader_token = HTTPBearer(
    scheme_name=READER_SCHEME, description="Token of a service or an operator", auto_error=False
)

_Credentials = HTTPAuthorizationCredentials | None


# Coroutines, although they never wait: FastAPI runs a plain function in a thread.


async def _service(request: Request, credentials: Annotated[_Credentials, Security(_service_token)]) -> str:
    access, token = _authenticate(request, credentials, "a service")
    name = access.service(token)
    if name is None:
        raise _rejection("a service", is_known=access.knows(token))
    return name


async def _operator(request: Request, credentials: Annotated[_Credentials, Security(_operator_token)]) -> str:
    access, token = _authenticate(request, credentials, "an operator")
    name = access.operator(token)
    if name is None:
        raise _rejection("an operator", is_known=access.knows(token))
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
    raise _rejection("a service or an operator", is_known=access.knows(token))


async def _reader(request: Request, credentials: Annotated[_Credentials, Security(_reader_token)]) -> None:
    if credentials is not None or not components(request.app).get(Access).open_reads:
        await _any(request, credentials)


def partner_access(role: str) -> tuple[Any, Any]:
    """Return the dependencies of commands and of reads for partners such as carriers or suppliers.

    The role's tokens are `partner_tokens` of Access. The value is the partner's name, None for an operator,
    who may act for any, and for other readers.
    """
    scheme = HTTPBearer(scheme_name=f"{role}Token", description=f"Token of a {role}", auto_error=False)
    allowed = f"a {role} or an operator"

    async def command(
        request: Request,
        credentials: Annotated[_Credentials, Security(scheme)],
        _: Annotated[_Credentials, Security(_operator_token)] = None,
    ) -> str | None:
        access, token = _authenticate(request, credentials, allowed)
        name = access.partner(role, token)
        if name is None and access.operator(token) is None:
            raise _rejection(allowed, is_known=access.knows(token))
        return name

    async def read(
        request: Request,
        credentials: Annotated[_Credentials, Security(scheme)],
        _: Annotated[_Credentials, Security(_reader_token)] = None,
    ) -> str | None:
        access = components(request.app).get(Access)
        name = access.partner(role, credentials.credentials) if credentials else None
        if name is None:
            await _reader(request, credentials)
        return name

    _RULES.update((command, read))
    return Depends(command), Depends(read)


_RULES: set[Any] = {_service, _operator, _any, _reader}

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
ReaderAccess = Depends(_reader)
"""Access for services and operators, in development for everyone: for reads of personal data."""
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
