"""CloudEvent: an event as a relay sends it, and the message that leaves for it."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic.config import JsonDict
from snsqs import Message
from snsqs.headers import CONTENT_TYPE, ID, SEQUENCE, SOURCE, SUBJECT, TIME, TRACEPARENT, TRACESTATE, TYPE

from shared.web import Timestamp

# Printable ASCII of the length that SQS accepts in an attribute; no line breaks reach the logs.
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")]

_DOMAIN_EVENT: JsonDict = {
    "required": ["source", "occurenceOn"],
    "properties": {"source": {"type": "object"}, "occurenceOn": {"type": "integer"}},
}


class CloudEvent(BaseModel):
    """Domain event with its metadata (https://cloudevents.io, JSON format)."""

    model_config = ConfigDict(frozen=True)

    specversion: Annotated[str, Field(pattern=r"^1\.")]
    id: Name
    source: Name
    """Name of the publishing service."""
    type: Name
    subject: Name
    """Id of the aggregate."""
    time: Timestamp
    sequence: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
    """Version of the aggregate."""
    traceparent: Name | None = None
    tracestate: Annotated[str, StringConstraints(max_length=512)] | None = None
    data: Annotated[dict[str, Any], Field(json_schema_extra=_DOMAIN_EVENT)]
    """Domain event: `source`, the aggregate, and `occurenceOn`."""

    @field_validator("data")
    @classmethod
    def _is_a_domain_event(cls, data: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(data.get("source"), dict) or type(data.get("occurenceOn")) is not int:
            raise ValueError("a domain event has an object `source` and a number `occurenceOn`")
        try:
            json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise ValueError(f"consumers cannot decode it: {error}") from error
        return data

    def message(self, aggregate: dict[str, Any]) -> Message[str]:
        """Return the message to publish, with this aggregate in place of the event's own."""
        headers = {
            ID: self.id,
            TYPE: self.type,
            SOURCE: self.source,
            TIME: self.time.isoformat(),
            SUBJECT: self.subject,
            SEQUENCE: self.sequence,
            CONTENT_TYPE: "application/json",
        }
        if self.traceparent:
            headers[TRACEPARENT] = self.traceparent
            if self.tracestate:
                headers[TRACESTATE] = self.tracestate
        body = {"source": aggregate, "occurenceOn": self.data["occurenceOn"]}
        return Message(json.dumps(body, separators=(",", ":")), headers)


def describe_errors(error: ValidationError) -> str:
    """Return the reasons why something is not a CloudEvent, without any of its values."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "not a CloudEvent: " + "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems
    )
