"""Hooks that Schemathesis imports (see test_api_schemas.py), for rules that a schema cannot express."""

import uuid
from typing import Any

import schemathesis
from schemathesis import Case, HookContext


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, object]) -> None:
    """Give each valid request an Idempotency-Key of its own: reuse for another request is rejected."""
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and "idempotency-key" in case.headers:
        case.headers["idempotency-key"] = f'"{uuid.uuid4()}"'
