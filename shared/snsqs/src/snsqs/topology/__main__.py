"""Topics, queues and subscriptions as the handlers ask for them.

The arguments name lists of functions marked @sqs_listener, such as services.scm.main:HANDLERS. The exit
code is 2 when a name is wrong, or SNS and SQS cannot be asked.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

import stamina
import stamina.instrumentation
import structlog
import typer

from snsqs._errors import MessagingError
from snsqs._handler import Binding
from snsqs.aws import aws_clients, error_code, is_queue_gone, is_topic_gone, transient_errors
from snsqs.topology import Account, Desired, Topology
from snsqs.topology._desired import topic_kind
from snsqs.topology._handler_lists import bindings_of

cli = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False, no_args_is_help=True)

Handlers = Annotated[list[str], typer.Argument(metavar="MODULE:ATTRIBUTE", show_default=False)]
Region = Annotated[str, typer.Option(envvar="AWS_REGION")]
Endpoint = Annotated[str | None, typer.Option(envvar="AWS_ENDPOINT_URL", help="Where a local server is.")]

_DELETED_RECENTLY = {"AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"}
_NO_TARGET = "Dead letter target does not exist"
"""What AWS says; the code is that of any invalid parameter."""
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
_SETTLES_WITHIN = 90.0
"""Seconds. AWS keeps a deleted queue's name for 60."""


@cli.command()
def show(
    handlers: Handlers,
    region: Region = "us-east-1",
    as_json: Annotated[bool, typer.Option("--json", help="A list, with one object for each queue.")] = False,
) -> None:
    """Print what the handlers ask for, by the names of the SNS and SQS APIs. AWS is not needed."""
    with _refusals():
        wanted = [Desired(binding, Account(region)) for binding in bindings_of(handlers)]
    if as_json:
        typer.echo(json.dumps([_described(each) for each in wanted], indent=2))
    else:
        typer.echo("\n\n".join(_text(each) for each in wanted))


@cli.command()
def apply(handlers: Handlers, region: Region = "us-east-1", endpoint: Endpoint = None) -> None:
    """Make what is missing and correct what differs. What is right already is not written again."""
    for queue, corrected in _for_each(applied, handlers, region, endpoint, create=True):
        _report(queue, [f"corrected: {each}" for each in corrected], otherwise="nothing to do")


@cli.command("drift")
def report_drift(handlers: Handlers, region: Region = "us-east-1", endpoint: Endpoint = None) -> None:
    """Report what is missing or different, a line for each; exit code 1 if there is any, else 0.

    On AWS a change of a queue shows after up to a minute."""
    drifts = _for_each(Topology.drift, handlers, region, endpoint, create=False)
    for queue, found in drifts:
        _report(queue, found, otherwise="no drift")
    raise SystemExit(1 if any(found for _, found in drifts) else 0)


async def applied(topology: Topology, binding: Binding) -> list[str]:
    """Applies one binding, and returns what was corrected. Waits for what AWS refuses for a while only."""
    found = await topology.drift(binding)
    if not found:
        return []
    attempts = stamina.retry_context(
        on=_settles, attempts=None, timeout=_SETTLES_WITHIN, wait_initial=1, wait_max=10
    )
    async for attempt in attempts:
        with attempt:
            await topology.listener_queues(binding)
    return found


def _settles(error: Exception) -> bool:
    """A queue's name is taken for a minute after its deletion; what was made just now may not be found."""
    found_later = is_queue_gone(error) or is_topic_gone(error) or _NO_TARGET in str(error)
    if found_later or error_code(error) in _DELETED_RECENTLY:
        typer.echo(f"waiting: {error}", err=True)
        return True
    return False


def _for_each(
    work: Callable[[Topology, Binding], Awaitable[list[str]]],
    handlers: Sequence[str],
    region: str,
    endpoint: str | None,
    *,
    create: bool,
) -> list[tuple[str, list[str]]]:
    """For each queue of the handlers, what `work` says of it."""

    if endpoint and urlsplit(endpoint).hostname in _THIS_MACHINE:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(name, "local")  # a local server takes any

    async def all_of(consumed: Sequence[Binding]) -> list[tuple[str, list[str]]]:
        async with aws_clients(region=region, endpoint_url=endpoint) as clients:
            topology = Topology(clients, create=create)
            return [(each.queue, await work(topology, each)) for each in consumed]

    warnings = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=warnings, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    stamina.instrumentation.set_on_retry_hooks([])
    with _refusals():
        return asyncio.run(all_of(bindings_of(handlers)))


@contextmanager
def _refusals() -> Iterator[None]:
    """Ends the process with one line and exit code 2 when a name is wrong or AWS cannot be asked."""
    try:
        yield
    except MessagingError as error:
        reason = str(error)
    except transient_errors(ValueError) as error:  # ValueError: the endpoint is no URL
        reason = f"SNS and SQS cannot be asked: {str(error) or type(error).__name__}"
    else:
        return
    typer.echo(f"error: {' '.join(reason.split())}", err=True)
    raise SystemExit(2)


def _report(queue: str, sentences: Sequence[str], *, otherwise: str) -> None:
    for each in sentences or [otherwise]:
        typer.echo(f"queue {queue}: {each}")


def _described(desired: Desired) -> dict[str, Any]:
    binding = desired.binding
    return {
        "topic": _resource(binding.topic, desired.topic_arn, topic_kind(binding.topic)),
        "queue": _resource(binding.queue, desired.queue_arn, desired.queue),
        "deadLetterQueue": _resource(
            binding.dead_letter_queue, desired.dead_letter_queue_arn, desired.dead_letter_queue
        ),
        "subscription": {"attributes": _attributes(desired.subscription)},
        "handlers": {event_type: binding.handlers[event_type].name for event_type in binding.event_types},
    }


def _resource(name: str, arn: str, attributes: Mapping[Any, str]) -> dict[str, Any]:
    return {"name": name, "arn": arn, "attributes": _attributes(attributes)}


def _attributes(attributes: Mapping[Any, str]) -> dict[str, Any]:
    """The attributes, with policies as the objects that their JSON stands for."""
    return {name: json.loads(value) if value.startswith("{") else value for name, value in attributes.items()}


def _text(desired: Desired) -> str:
    binding = desired.binding
    parts: list[tuple[str, Mapping[Any, str]]] = [
        (f"queue {binding.queue}", desired.queue),
        (f"dead-letter queue {binding.dead_letter_queue}", desired.dead_letter_queue),
        (f"topic {binding.topic}", topic_kind(binding.topic)),
        ("subscription of the queue to the topic", desired.subscription),
        ("handlers", {event_type: handler.name for event_type, handler in binding.handlers.items()}),
    ]
    return "\n".join(
        line
        for title, values in parts
        for line in (title, *[f"  {name:<24}{value}" for name, value in values.items()])
    )


if __name__ == "__main__":
    cli()
