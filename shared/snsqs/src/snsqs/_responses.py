"""Validation of the responses of SNS and SQS.

A proxy, a login page or a broken endpoint may answer with status 200. The SDK takes that for an empty result,
so that messages which still exist count as deleted, or its parser fails with an AttributeError.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from snsqs._errors import MessagingError

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.model import OperationModel

_REQUIRED = {"CreateQueue": "QueueUrl", "GetQueueUrl": "QueueUrl", "SendMessage": "MessageId"}
"""Members that every response of these operations has."""

_PARSER_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of the SDK's parser for a body of another structure than it expects."""

_MAX_EXCERPT = 60
"""Characters of an unexpected body in the error."""


class UnexpectedResponse(MessagingError):
    """An endpoint answered a call with something that is not a response of SNS or SQS. Nothing is known about
    the effect of the call; it may succeed later. Check the endpoint and the proxies on the way to it."""


def validate_responses(client: "BaseClient") -> None:
    """Make the calls of a client raise UnexpectedResponse. Calling it again has no effect."""
    service = client.meta.service_model.service_id.hyphenize()
    for event, handler in (
        ("before-parse", _validate_body),
        ("after-call", _validate_members),
        ("after-call-error", _translate_error),
    ):
        client.meta.events.register(f"{event}.{service}", handler, unique_id=f"snsqs.{event}")


@contextmanager
def reading_response(operation: str) -> Iterator[None]:
    """Raise UnexpectedResponse where the body fails on a response whose members are missing or malformed."""
    try:
        yield
    except _PARSER_ERRORS as error:
        raise UnexpectedResponse(f"unexpected response to {operation}: {error!r}") from error


def _validate_body(operation_model: "OperationModel", response_dict: Mapping[str, Any], **_: Any) -> None:
    body, status = response_dict["body"], response_dict["status_code"]
    if status >= 300 or operation_model.output_shape is None:
        return
    if operation_model.service_model.resolved_protocol == "json":
        is_valid = not body or (body.lstrip()[:1] == b"{" and body.rstrip()[-1:] == b"}")
    else:
        is_valid = f"<{operation_model.name}Response".encode() in body[:1_000]
    if not is_valid:
        media_type = response_dict["headers"].get("content-type", "no content type")
        excerpt = body[:_MAX_EXCERPT].decode(errors="replace")
        raise UnexpectedResponse(
            f"unexpected response to {operation_model.name}: HTTP {status}, {media_type}, {excerpt!r}"
        )


def _validate_members(model: "OperationModel", parsed: Mapping[str, Any], **_: Any) -> None:
    required = _REQUIRED.get(model.name)
    if required is not None and "Error" not in parsed and required not in parsed:
        raise UnexpectedResponse(f"unexpected response to {model.name}: no {required}")


def _translate_error(exception: Exception, event_name: str, **_: Any) -> None:
    """Translate errors of the parser. Those of the SDK pass: some of them derive from ValueError."""
    from botocore.exceptions import BotoCoreError

    is_expected = isinstance(exception, (BotoCoreError, UnexpectedResponse))
    if isinstance(exception, _PARSER_ERRORS) and not is_expected:
        operation = event_name.rpartition(".")[2]
        raise UnexpectedResponse(f"unexpected response to {operation}: {exception!r}") from exception
