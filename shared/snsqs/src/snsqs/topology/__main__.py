"""Topics, queues and subscriptions that the handlers require.

The arguments name lists of functions marked @sqs_listener, such as billing.main:HANDLERS. The exit code is
2 when a name is wrong, or SNS and SQS cannot be queried.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from snsqs._binding import Binding
from snsqs._errors import MessagingError
from snsqs.aws import aws_clients, error_code, is_queue_gone, is_topic_gone, transient_errors
from snsqs.backoff import full_jitter
from snsqs.topology import Account, Desired, Topology
from snsqs.topology._desired import topic_type
from snsqs.topology._handler_lists import bindings_of

_DELETED_RECENTLY = {"AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"}
_NO_TARGET = "Dead letter target does not exist"
"""The message of AWS; the code is that of any invalid parameter."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_APPLY_TIMEOUT = 90.0
"""Seconds. AWS reserves the name of a deleted queue for 60."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except MessagingError as error:
        return _failed(str(error))
    except transient_errors(ValueError) as error:  # ValueError: the endpoint is no URL
        return _failed(f"SNS and SQS cannot be queried: {str(error) or type(error).__name__}")
    return code


async def apply_binding(topology: Topology, binding: Binding) -> list[str]:
    """Create or correct the resources of a binding, and return the drift that was corrected.

    Errors that AWS raises only for a while are retried for 90 s.
    """
    found = await topology.drift(binding)
    if not found:
        return []
    attempt = 0
    async with asyncio.timeout(_APPLY_TIMEOUT) as deadline:
        while True:
            attempt += 1
            try:
                await topology.listener_queues(binding)
            except Exception as error:
                pause = full_jitter(attempt, base=1, cap=10, floor=0.5)
                ends = deadline.when() or 0.0
                if not _is_temporary(error) or asyncio.get_running_loop().time() + pause > ends:
                    raise
                print(f"waiting: {error}", file=sys.stderr)
                await asyncio.sleep(pause)
            else:
                return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m snsqs.topology",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = _add(
        commands, _show, "show", "print the required attributes, named as in the APIs; AWS is not needed"
    )
    show.add_argument("--json", action="store_true", help="a list with one object per queue")
    apply = _add(commands, _apply, "apply", "create what is missing and correct what differs")
    drift = _add(
        commands,
        _drift,
        "drift",
        "report what is missing or different, a line for each; exit code 1 if there is any, else 0. "
        "On AWS a change of a queue is visible after up to a minute",
    )
    for command in (apply, drift):
        command.add_argument(
            "--endpoint",
            default=os.environ.get("AWS_ENDPOINT_URL"),
            help="URL of a local server [env: AWS_ENDPOINT_URL]",
        )
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    command: Callable[[argparse.Namespace], int],
    name: str,
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(command=command)
    parser.add_argument("handlers", nargs="+", metavar="MODULE:ATTRIBUTE")
    parser.add_argument(
        "--prefix", default="", help="prefix of all queues and topics, such as that of an environment"
    )
    parser.add_argument(
        "--region",
        default=os.environ.get("AWS_REGION", "us-east-1"),
        help="[env: AWS_REGION; default: us-east-1]",
    )
    return parser


def _show(options: argparse.Namespace) -> int:
    home = Account(options.region)
    desired = [
        Desired(binding, home.of_queue(binding.queue_address or binding.queue), home)
        for binding in bindings_of(options.handlers, prefix=options.prefix)
    ]
    if options.json:
        print(json.dumps([_as_json(each) for each in desired], indent=2))
    else:
        print("\n\n".join(_as_text(each) for each in desired))
    return 0


def _apply(options: argparse.Namespace) -> int:
    for queue, corrected in _for_each_queue(apply_binding, options, create=True):
        _report(queue, [f"corrected: {each}" for each in corrected], otherwise="nothing to do")
    return 0


def _drift(options: argparse.Namespace) -> int:
    drifts = _for_each_queue(Topology.drift, options, create=False)
    for queue, found in drifts:
        _report(queue, found, otherwise="no drift")
    return 1 if any(found for _, found in drifts) else 0


def _for_each_queue(
    work: Callable[[Topology, Binding], Awaitable[list[str]]], options: argparse.Namespace, *, create: bool
) -> list[tuple[str, list[str]]]:
    """Return the name of each queue of the handlers, with the result of `work`."""
    if options.endpoint and urlsplit(options.endpoint).hostname in _LOOPBACK:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(name, "local")  # a local server accepts any

    async def run(bound: Sequence[Binding]) -> list[tuple[str, list[str]]]:
        async with aws_clients(region=options.region, endpoint_url=options.endpoint) as clients:
            topology = Topology(clients, create=create)
            return [(each.queue, await work(topology, each)) for each in bound]

    return asyncio.run(run(bindings_of(options.handlers, prefix=options.prefix)))


def _is_temporary(error: Exception) -> bool:
    """Return True when a deleted queue's name is still reserved, or a new resource is not visible yet."""
    is_invisible = is_queue_gone(error) or is_topic_gone(error) or _NO_TARGET in str(error)
    return is_invisible or error_code(error) in _DELETED_RECENTLY


def _failed(reason: str) -> int:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    return 2


def _report(queue: str, sentences: Sequence[str], *, otherwise: str) -> None:
    for each in sentences or [otherwise]:
        print(f"queue {queue}: {each}")


def _as_json(desired: Desired) -> dict[str, Any]:
    binding = desired.binding
    return {
        "topics": [_resource(topic, arn, topic_type(topic)) for topic, arn in desired.topic_arns.items()],
        "queue": _resource(binding.queue, desired.queue_arn, desired.queue),
        "deadLetterQueue": _resource(
            binding.dead_letter_queue, desired.dead_letter_queue_arn, desired.dead_letter_queue
        ),
        "tags": desired.tags,
        "subscriptions": [
            {"topic": desired.topic_arns[topic], "attributes": _attributes(attributes)}
            for topic, attributes in desired.subscriptions.items()
        ],
        "handlers": {event_type: binding.handlers[event_type].name for event_type in binding.event_types},
    }


def _resource(name: str, arn: str, attributes: Mapping[Any, str]) -> dict[str, Any]:
    return {"name": name, "arn": arn, "attributes": _attributes(attributes)}


def _attributes(attributes: Mapping[Any, str]) -> dict[str, Any]:
    """The attributes, with policies as objects instead of JSON text."""
    return {name: json.loads(value) if value.startswith("{") else value for name, value in attributes.items()}


def _as_text(desired: Desired) -> str:
    binding = desired.binding
    parts: list[tuple[str, Mapping[Any, str]]] = [
        (f"queue {binding.queue}", desired.queue),
        (f"dead-letter queue {binding.dead_letter_queue}", desired.dead_letter_queue),
        ("tags of both queues", desired.tags),
        *[(f"topic {topic}", topic_type(topic)) for topic in binding.topics],
        *[
            (f"subscription of the queue to {topic}", attributes)
            for topic, attributes in desired.subscriptions.items()
        ],
        ("handlers", {event_type: handler.name for event_type, handler in binding.handlers.items()}),
    ]
    return "\n".join(
        line
        for title, values in parts
        for line in (title, *[f"  {name:<24}{value}" for name, value in values.items()])
    )


if __name__ == "__main__":
    sys.exit(main())
