"""Reasons of failed calls of SNS and SQS, in words that name the permission, key or setting to correct."""

from typing import Final

from snsqs.aws import error_code, is_queue_gone, is_topic_gone

_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "UnauthorizedOperation",
}
_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "UnrecognizedClientException",
}
_CLOCK = {"RequestExpired", "RequestTimeTooSkewed"}
_THROTTLED = {"RequestLimitExceeded", "SlowDown", "TooManyRequestsException"}
"""Others contain the word."""

_OVER_LIMIT = {"OverLimit", "AWS.SimpleQueueService.OverLimit"}

_KMS_ACTIONS: Final = {"sqs:ReceiveMessage": "kms:Decrypt"}
"""Permission on the key that a call needs; sending needs two."""


def describe(error: BaseException, resource: str) -> str:
    """Return why a call failed, with what to correct where the error code shows it.

    `resource` is the name of the queue or topic.
    """
    reason = _reason(error, resource)
    text = str(error) or type(error).__name__
    return f"{reason}: {text}" if reason else text


def is_refused(error: BaseException) -> bool:
    """Return whether a call was refused until somebody changes something: a permission, a key, a queue."""
    code = error_code(error)
    is_missing = is_queue_gone(error) or is_topic_gone(error)
    return code in _DENIED or _is_of_kms(code) or is_missing


def _reason(error: BaseException, resource: str) -> str | None:
    code = error_code(error)
    action = _action(str(getattr(error, "operation_name", "")))
    if _is_of_kms(code):
        permission = _KMS_ACTIONS.get(action, "kms:GenerateDataKey and kms:Decrypt")
        return f"cannot use the KMS key of {resource}; {permission} is needed and the key must be enabled"
    if code in _DENIED:
        return f"permission {action} on {resource} is missing"
    if code in _OVER_LIMIT:
        return f"{resource} has as many messages in flight as SQS permits"
    if is_queue_gone(error) or is_topic_gone(error):
        return f"{resource} does not exist"
    if code in _CLOCK or "Signature expired" in str(error) or "Signature not yet current" in str(error):
        return "the clock of this machine differs from that of AWS; synchronize it"
    if code in _CREDENTIALS:
        return "the credentials are invalid or have expired"
    is_throttled = code in _THROTTLED or "throttl" in code.lower()
    return f"{action} is throttled" if is_throttled else None


def _action(operation: str) -> str:
    """Return the IAM action that permits an operation of the SDK."""
    is_of_sns = operation.startswith("Publish") or "Topic" in operation or "Subscri" in operation
    return f"{'sns' if is_of_sns else 'sqs'}:{operation.removesuffix('Batch')}"


def _is_of_kms(code: str) -> bool:
    """KMS has about ten codes in each service, such as `KMS.AccessDeniedException` and `KmsDisabled`."""
    return code.lower().startswith("kms") and "throttl" not in code.lower()
