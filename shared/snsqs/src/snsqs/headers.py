"""Names of the headers that travel as message attributes.

They are the attribute names of CloudEvents (https://cloudevents.io) with the prefix `ce-`, and those of W3C
Trace Context. SQS allows ten message attributes.
"""

__all__ = [
    "CONTENT_TYPE",
    "DEAD_LETTER_DETAILS",
    "DEAD_LETTER_REASON",
    "ID",
    "SEQUENCE",
    "SOURCE",
    "SUBJECT",
    "TIME",
    "TRACEPARENT",
    "TRACESTATE",
    "TYPE",
]

ID = "ce-id"
"""Id of the event; the same on every delivery."""
TYPE = "ce-type"
"""Logical name of the event type."""
SOURCE = "ce-source"
"""Service that published the event."""
TIME = "ce-time"
"""Time of the event, RFC 3339."""
SUBJECT = "ce-subject"
"""Id of the aggregate."""
SEQUENCE = "ce-sequence"
"""Version of the aggregate, in decimal digits."""
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
"""Vendors' own positions in the trace; only beside a traceparent."""
CONTENT_TYPE = "content-type"

DEAD_LETTER_REASON = "dead-letter-reason"
"""Error that a message failed with, as text. On dead letters only."""
DEAD_LETTER_DETAILS = "dead-letter-details"
"""Error type, queue, receive count and times, as JSON. On dead letters only."""
