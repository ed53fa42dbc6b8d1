"""A CloudEvent as it comes from a relay, and the message that it leaves as."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic.config import JsonDict
from snsqs import Message
from snsqs.headers import CONTENT_TYPE, ID, SEQUENCE, SOURCE, SUBJECT, TIME, TRACEPARENT, TYPE

from shared.web import Timestamp

# What SQS takes in an attribute, and nothing that would make the logs lie.
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")]

_DOMAIN_EVENT: JsonDict = {
    "required": ["source", "occurenceOn"],
    "properties": {"source": {"type": "object"}, "occurenceOn": {"type": "integer"}},
}


class CloudEvent(BaseModel):
    """One domain event and what is said about it (https://cloudevents.io, JSON format)."""

    model_config = ConfigDict(frozen=True)

    specversion: Annotated[str, Field(pattern=r"^1\.")]
    id: Name
    source: Name
    type: Name
    subject: Name
    """The aggregate's id."""
    time: Timestamp
    sequence: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
    """The aggregate's version."""
    traceparent: Name | None = None
    data: Annotated[dict[str, Any], Field(json_schema_extra=_DOMAIN_EVENT)]
    """The domain event: `source`, the aggregate, and `occurenceOn`."""

    @field_validator("data")
    @classmethod
    def _is_a_domain_event(cls, data: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(data.get("source"), dict) or type(data.get("occurenceOn")) is not int:
            raise ValueError("a domain event has an object `source` and a number `occurenceOn`")
        return data

    def message(self, data: dict[str, Any]) -> Message[str]:
        """The message that leaves, with the translated domain event as its payload."""
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
        return Message(json.dumps(data, separators=(",", ":")), headers)


def why_not(error: ValidationError) -> str:
    """Why something is no CloudEvent, without what is in it."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "not a CloudEvent: " + "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems
    )
