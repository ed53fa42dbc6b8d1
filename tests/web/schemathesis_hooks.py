"""What Schemathesis has to know and no schema can say. It imports this file, see test_api_schemas.py."""

import uuid
from typing import Any

import schemathesis
from schemathesis import Case, HookContext


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, object]) -> None:
    """A key that was used for another request is refused, so each valid request has one of its own."""
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and "idempotency-key" in case.headers:
        case.headers["idempotency-key"] = f'"{uuid.uuid4()}"'
