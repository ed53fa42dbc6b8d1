"""Conversion between `traceparent` (W3C Trace Context) and the trace header of AWS X-Ray.

X-Ray writes `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, and SQS carries it
as the system attribute `AWSTraceHeader`. See https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html.
"""

import re

_TRACEPARENT = re.compile(r"00-([0-9a-f]{8})([0-9a-f]{24})-([0-9a-f]{16})-([0-9a-f]{2})")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")


def aws_trace_header(traceparent: str) -> str | None:
    """Return the X-Ray trace header of a traceparent, or None if that is malformed."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    epoch, random, parent, flags = match.groups()
    return f"Root=1-{epoch}-{random};Parent={parent};Sampled={int(flags, 16) & 1}"


def traceparent_of(trace_header: str) -> str | None:
    """Return the traceparent of an X-Ray trace header, or None without a valid `Root` and `Parent`."""
    fields = dict(each.strip().partition("=")[::2] for each in trace_header.split(";"))
    root = _ROOT.fullmatch(fields.get("Root", ""))
    parent = fields.get("Parent", "")
    if root is None or not _PARENT.fullmatch(parent):
        return None
    return f"00-{root[1]}{root[2]}-{parent}-{'01' if fields.get('Sampled') == '1' else '00'}"
