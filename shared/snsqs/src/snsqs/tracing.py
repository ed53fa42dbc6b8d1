"""Context of messages: the trace (W3C Trace Context, OpenTelemetry API) and the message being handled."""

from collections.abc import Sequence

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from snsqs import _message
from snsqs._channel import Send
from snsqs._errors import MessagingError
from snsqs._handler import Delivery, MessageHandler
from snsqs._message import Message
from snsqs._validation import MAX_ATTRIBUTES
from snsqs.headers import TRACEPARENT, TRACESTATE

__all__ = [
    "Tracing",
    "context_of",
    "current_message",
    "current_traceparent",
    "current_tracestate",
    "propagate_trace",
    "trace_id_of",
]


_MAX_TRACESTATE = 512


def current_message() -> Message[str] | None:
    """Return the message that is being handled in this task, or None outside of handling; of a batch, the
    first. A logging filter or formatter can add its id, type and subject to every record."""
    return _message.current_message.get()


def current_traceparent() -> str | None:
    """Return the current span as `traceparent` (W3C Trace Context), or None outside of a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_tracestate() -> str | None:
    """Return the `tracestate` of the current span (W3C Trace Context), or None if it has none.

    One of more than 512 characters, which no system has to propagate, is dropped.
    """
    tracestate = trace.get_current_span().get_span_context().trace_state.to_header()
    return tracestate if 0 < len(tracestate) <= _MAX_TRACESTATE else None


async def propagate_trace(messages: Sequence[Message[str]], proceed: Send) -> list[str | MessagingError]:
    """ChannelInterceptor that adds the current trace as `traceparent`, and `tracestate` if there is one.

    A message that has a traceparent keeps it, with its tracestate. Both are headers, of which a message may
    have ten: without room for both, the tracestate is left out, as W3C permits.
    """
    if (traceparent := current_traceparent()) is None:
        return await proceed(messages)
    parent = {TRACEPARENT: traceparent}
    tracestate = current_tracestate()
    full = parent if tracestate is None else parent | {TRACESTATE: tracestate}

    def traced(message: Message[str]) -> Message[str]:
        if TRACEPARENT in message.headers:
            return message
        has_room = len(message.headers.keys() | full.keys()) <= MAX_ATTRIBUTES
        return message.copy(headers=full if has_room else parent)

    return await proceed([traced(message) for message in messages])


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a `traceparent`: 32 hexadecimal digits."""
    return traceparent.split("-")[1]


def context_of(traceparent: str | None, tracestate: str | None = None) -> Context:
    """Return the context of a trace that began in another process. None or a malformed traceparent begins a
    new trace; a malformed tracestate is dropped."""
    if not traceparent:
        return Context()
    return propagate.extract({TRACEPARENT: traceparent} | ({TRACESTATE: tracestate} if tracestate else {}))


class Tracing:
    """Middleware: handles a message in a span of the trace that its `traceparent` and `tracestate` name, or
    without a traceparent its `AWSTraceHeader`."""

    provides = ()

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("snsqs")

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        headers = delivery.message.headers
        context = context_of(headers.get(TRACEPARENT), headers.get(TRACESTATE))
        with self._tracer.start_as_current_span(f"handle {delivery.message.type}", context=context):
            await proceed(delivery)
