"""Output of the `routes` commands on a terminal."""

import json
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.dry_run import Change, Counts, DryRun
from services.adapter.routes.explanation import Evaluation, Explanation, OutgoingMessage
from services.adapter.routes.file import RouteFile
from services.adapter.routes.finding import Finding

_STYLES = {"forwarded": "green", "held_back": "yellow", "failed": "bold red"}


def findings(found: RouteFile) -> None:
    """Print a line for each finding, in the format of compilers."""
    errors, warnings = ("error: ", "bold red"), ("warning: ", "yellow")
    for level, of_level in ((errors, found.errors), (warnings, found.warnings)):
        for finding in of_level:
            _print(Text.assemble((f"{found.name}:{finding.line}: ", "bold"), level, str(finding)))
    _print(Text(f"{found.name}: {_count(found.errors, 'error')}, {_count(found.warnings, 'warning')}"))


def explanation(event: CloudEvent, explained: Explanation) -> None:
    """Print the event, the decision, every rule and the message."""
    _print(Text(f"{event.type} of {event.source}, order {event.subject}, version {event.sequence}", "bold"))
    where = f" to {explained.topic}" if explained.topic else ""
    _print(_decision(explained.decision, f"{where} by rule {explained.rule}" if explained.rule else where))
    if explained.error:
        _print(Text(explained.error, "red"))
    _print(Text())
    for each in explained.considered:
        mark, style = ("✓", "green") if each.matched else ("·", "dim")
        _print(Text(f"{mark} {each.rule}: {each.reason}", style))
    if explained.outgoing:
        _outgoing(explained.outgoing, explained.dropped)


def _outgoing(outgoing: OutgoingMessage, dropped: Sequence[str]) -> None:
    _print(Text("\ngoes out", "bold"))
    for name, value in outgoing.headers.items():
        _print(Text(f"  {name}: {value}"))
    for line in json.dumps(outgoing.body, indent=2).splitlines():
        _print(Text(f"  {line}"))
    if dropped:
        _print(Text("\nstays here", "bold"))
    for path in dropped:
        _print(Text(f"  {path}", "dim"))


def dry_run(result: DryRun) -> None:
    """Print a row for each kind of change, and the totals."""
    table = Table("events", "type", "before", "after", "content", "such as order", box=None)
    for alike in _alike(result.changes):
        first = alike[0]
        content = _content(first)
        table.add_row(
            str(len(alike)),
            f"{first.source} {first.type}",
            _evaluation(first.before),
            _evaluation(first.after),
            content,
            first.order_id,
        )
    if result.changes:
        _console().print(table)
    if result.counts:
        _print(_counts(result.counts))


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    groups = defaultdict[str, list[Change]](list)
    for change in changes:
        groups[change.model_dump_json(exclude={"id", "order_id"})].append(change)
    return sorted(groups.values(), key=len, reverse=True)


def _evaluation(evaluation: Evaluation) -> Text:
    to = f" to {evaluation.topic}" if evaluation.topic else ""
    rule = evaluation.error or evaluation.rule
    return _decision(evaluation.decision, f"{to}\n{rule}")


def _decision(decision: str, rest: str) -> Text:
    return Text.assemble((decision.replace("_", " "), _STYLES[decision]), rest)


def _content(change: Change) -> Text:
    signs = (("+", change.added, "green"), ("-", change.removed, "red"))
    return Text("\n").join(Text(f"{sign} {path}", style) for sign, paths, style in signs for path in paths)


def _counts(counts: Counts) -> Text:
    parts = [f"{counts.changed} of {counts.events} events would change"]
    for decision, before in counts.before.items():
        after = counts.after[decision]
        parts.append(f"{decision.replace('_', ' ')} {before}" + (f" → {after}" if after != before else ""))
    return Text("; ".join(parts), "bold")


def _count(of: Sequence[Finding], name: str) -> str:
    return f"{len(of) or 'no'} {name}{'' if len(of) == 1 else 's'}"


def _print(text: Text) -> None:
    """Print without wrapping, because editors and grep read the lines too."""
    Console(soft_wrap=True, highlight=False).print(text)


def _console() -> Console:
    """Return a console for tables: as wide as the terminal, or 200 columns in a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)
