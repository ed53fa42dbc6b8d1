"""Telemetry: structured logs that carry what they are about, and a trace that follows an event."""

import logging
import sys
from contextlib import suppress
from typing import Literal

import stamina
import stamina.instrumentation
import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

# No span is written down that nobody would take, unless the caller writes its own down. Ids are made, told in
# every log line and passed on all the same. Whoever adds an exporter samples more.
_NOBODY_COLLECTS = ParentBased(ALWAYS_OFF)

LogFormat = Literal["auto", "console", "json"]


def configure(service: str, *, log_format: LogFormat = "auto", log_level: str = "INFO") -> None:
    """Sets up logging and tracing of this process. `auto` is readable on a terminal and JSON elsewhere."""
    for_people = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    enrich: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _add_trace_id,
    ]
    render = _for_people() if for_people else _as_json(service)
    structlog.configure(
        processors=[*enrich, *render],
        logger_factory=_Output,
        wrapper_class=structlog.make_filtering_bound_logger(log_level),  # what is not shown costs nothing
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=enrich,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=log_level, force=True)
    logging.getLogger("asyncpg").setLevel(logging.ERROR)  # it warns with a traceback of what we wait out
    for chatty in ("httpx", "botocore", "aiobotocore", "yoyo.migrations", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    stamina.instrumentation.set_on_retry_hooks([_log_retry])
    trace.set_tracer_provider(
        TracerProvider(sampler=_NOBODY_COLLECTS, resource=Resource.create({SERVICE_NAME: service}))
    )


def tracer() -> trace.Tracer:
    """To be asked for once `configure` was called; one from before asks for it anew with each span."""
    return trace.get_tracer("order-to-supply")


class _Output:
    """Where lines go: standard output. That it is gone, or cannot write a letter, fails no request.

    The libraries' lines go there by way of `logging`, which would more than double the cost of ours.
    """

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stdout.write(f"{line}\n")  # at once: print writes the end of the line for itself
            sys.stdout.flush()

    debug = info = warning = error = critical = msg


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    structlog.get_logger(__name__).warning(
        "trying again",
        error=str(details.caused_by),
        retry=details.retry_num,
        retry_in=round(details.wait_for, 1),
    )


def _for_people() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
        _as_a_story,
        structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_level=False,
            sort_keys=False,
        ),
    ]


def _as_json(service: str) -> list[structlog.typing.Processor]:
    def add_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"service": service, **event}

    return [
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        add_service,
        structlog.processors.JSONRenderer(),
    ]


def _add_trace_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
    return event


def _as_a_story(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What the line is about comes first, what only machines compare comes last or not at all."""
    event.pop("trace_id", None)
    first = {key: event.pop(key) for key in ("order_id", "event_type") if key in event}
    last = {key: event.pop(key) for key in ("message_id", "event_id") if key in event}
    return {key: value for key, value in {**first, **event, **last}.items() if value is not None}
