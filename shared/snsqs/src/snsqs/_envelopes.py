"""Envelopes and forms of other senders, recognised in a message that cannot be decoded.

They are named in the reason of its dead letter, with the remedy.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

_POINTERS = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
"""First item of the JSON array that the extended client libraries send in place of a large payload."""

_POINTER_HEADERS = ("ExtendedPayloadSize", "SQSLargePayloadSize")

_GZIP_IN_BASE64 = "H4sI"


def envelope_hint(body: str, headers: Mapping[str, str]) -> str:
    """Return the form that a message seems to have, with the remedy, as the end of a reason; empty if it has
    none of the known forms."""
    form = _of_headers(headers) or _of_body(body)
    return f"; it looks like {form}" if form else ""


def _of_headers(headers: Mapping[str, str]) -> str:
    if "gzip" in headers.get("content-encoding", "").lower():
        return "gzip: decompress it in a converter of your own"
    if any(name in headers for name in _POINTER_HEADERS):
        return "a pointer to S3 (claim check): fetch the payload in a middleware"
    if java_type := headers.get("JavaType"):
        return (
            f"a message of Spring with the JavaType {java_type[:256]}: set ce-type in the sender, or "
            "ListenerOptions.default_type"
        )
    return ""


def _of_body(body: str) -> str:
    if body.startswith(_GZIP_IN_BASE64):
        return "gzip in Base64: decompress it in a converter of your own"
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(document, list) and len(document) == 2 and document[0] in _POINTERS:
        return "a pointer to S3 (claim check): fetch the payload in a middleware"
    if not isinstance(document, dict):
        return ""
    if _is_type("Notification")(document):
        inner = _of_body(str(document.get("Message", "")))
        return f"{inner}; in the envelope of SNS" if inner else ""
    return next((form for is_form, form in _DOCUMENTS if is_form(document)), "")


def _has(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda document: all(name in document for name in names)


def _is_type(value: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda document: document.get("Type") == value


def _is_s3_notification(document: Mapping[str, Any]) -> bool:
    records = document.get("Records")
    return isinstance(records, list) and all(isinstance(each, dict) and "s3" in each for each in records)


_DOCUMENTS: list[tuple[Callable[[Mapping[str, Any]], bool], str]] = [
    (
        _has("specversion", "type"),
        "a CloudEvent in structured mode: use snsqs.converters.CloudEventsConverter",
    ),
    (_has("detail-type", "detail"), "an event of EventBridge: use snsqs.converters.EventBridgeConverter"),
    (_is_s3_notification, "a notification of S3: use snsqs.converters.S3Converter"),
    (
        lambda document: document.get("Event") == "s3:TestEvent",
        "the test event that S3 sends when notifications are set up: use snsqs.converters.S3Converter",
    ),
    (
        _is_type("SubscriptionConfirmation"),
        "SNS's request to confirm a subscription: call ConfirmSubscription, or subscribe with the topology",
    ),
    (_is_type("UnsubscribeConfirmation"), "SNS's confirmation that a subscription was deleted: discard it"),
]
