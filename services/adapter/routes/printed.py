"""What the command line prints about routes, for people."""

import json
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.dry_run import Change, Counts, DryRun
from services.adapter.routes.explanation import Explanation, Outgoing
from services.adapter.routes.file import RouteFile
from services.adapter.routes.finding import Finding
from services.adapter.routes.verdict import Verdict

_STYLES = {"forwarded": "green", "held_back": "yellow", "failed": "bold red"}


def findings(found: RouteFile) -> None:
    """A line for each, as compilers print them."""
    errors, warnings = ("error: ", "bold red"), ("warning: ", "yellow")
    for level, of_level in ((errors, found.errors), (warnings, found.warnings)):
        for finding in of_level:
            _print(Text.assemble((f"{found.name}:{finding.line}: ", "bold"), level, str(finding)))
    _print(Text(f"{found.name}: {_count(found.errors, 'error')}, {_count(found.warnings, 'warning')}"))


def explanation(event: CloudEvent, told: Explanation) -> None:
    """The event, the decision, every rule, and what goes out."""
    _print(Text(f"{event.type} of {event.source}, order {event.subject}, version {event.sequence}", "bold"))
    where = f" to {told.topic}" if told.topic else ""
    _print(_decision(told.decision, f"{where} by rule {told.rule}" if told.rule else where))
    if told.error:
        _print(Text(told.error, "red"))
    _print(Text())
    for each in told.considered:
        mark, style = ("✓", "green") if each.matched else ("·", "dim")
        _print(Text(f"{mark} {each.rule}: {each.reason}", style))
    if told.outgoing:
        _outgoing(told.outgoing, told.dropped)


def _outgoing(outgoing: Outgoing, dropped: Sequence[str]) -> None:
    _print(Text("\ngoes out", "bold"))
    for name, value in outgoing.headers.items():
        _print(Text(f"  {name}: {value}"))
    for line in json.dumps(outgoing.body, indent=2).splitlines():
        _print(Text(f"  {line}"))
    if dropped:
        _print(Text("\nstays here", "bold"))
    for path in dropped:
        _print(Text(f"  {path}", "dim"))


def dry_run(tried: DryRun) -> None:
    """A line for each kind of change, and what it comes to."""
    table = Table("events", "type", "before", "after", "content", "such as order", box=None)
    for alike in _alike(tried.changes):
        first = alike[0]
        content = _content(first)
        table.add_row(
            str(len(alike)),
            f"{first.source} {first.type}",
            _verdict(first.before),
            _verdict(first.after),
            content,
            first.order_id,
        )
    if tried.changes:
        _console().print(table)
    if tried.counts:
        _print(_counts(tried.counts))


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    groups = defaultdict[str, list[Change]](list)
    for change in changes:
        groups[change.model_dump_json(exclude={"id", "order_id"})].append(change)
    return sorted(groups.values(), key=len, reverse=True)


def _verdict(verdict: Verdict) -> Text:
    to = f" to {verdict.topic}" if verdict.topic else ""
    rule = verdict.error or verdict.rule
    return _decision(verdict.decision, f"{to}\n{rule}")


def _decision(decision: str, rest: str) -> Text:
    return Text.assemble((decision.replace("_", " "), _STYLES[decision]), rest)


def _content(change: Change) -> Text:
    signs = (("+", change.added, "green"), ("-", change.removed, "red"), ("~", change.changed, "yellow"))
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
    """A line stays a line, however narrow the terminal is: editors and grep read it too."""
    Console(soft_wrap=True, highlight=False).print(text)


def _console() -> Console:
    """Tables fit the terminal; in a file, they are as wide as they need."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)
