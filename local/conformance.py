"""`make conformance`: the suites of the library that use SNS and SQS, on LocalStack, a second server."""

import os
import sys
from pathlib import Path

from local.ports import HOST, free_ports
from local.program import Program
from local.system import CannotStart

_ROOT = Path(__file__).parent.parent
_PYTHON = _ROOT / ".venv-localstack" / "bin" / "python"
_LOGS = _ROOT / ".local" / "logs"
_SUITES = [
    f"tests/snsqs/test_{name}.py"
    for name in (
        *("addresses", "aws", "channels", "converters", "event", "handlers", "health", "listener"),
        *("listener_on_sqs", "queue_settings", "queues", "sending"),
        *("topology", "topology_command", "topology_drift"),
    )
]
"""All that use an SNS/SQS server and no service. Each declares where LocalStack differs."""


async def run_conformance() -> int:
    """Return pytest's exit code. Raises CannotStart and ProgramFailed."""
    if not _PYTHON.exists():
        raise CannotStart("LocalStack is not installed: run `make conformance`")
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}"
    settings = {
        "GATEWAY_LISTEN": f"{HOST}:{port}",
        "SERVICES": "sns,sqs",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
    }
    command = [str(_PYTHON), "-m", "localstack.runtime.main"]
    engine = Program("localstack", command, settings, log=_LOGS / "localstack.log")
    await engine.start()
    try:
        await engine.wait_until_ready(f"{url}/_localstack/health")
        return await _suites(url)
    finally:
        await engine.stop()


async def _suites(url: str) -> int:
    pytest = Program(
        "pytest",
        [sys.executable, "-m", "pytest", "-q", *_SUITES],
        {**os.environ, "SNS_SQS_URL": url},
        log=_LOGS / "conformance.log",
        on_line=lambda _, line: print(line),
    )
    await pytest.start()
    try:
        return await pytest.wait()
    finally:
        await pytest.stop()
