"""Cost of importing the library."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("processes")

# Frameworks and SDKs that a program may not use, or that it needs only once a client is opened.
_HEAVY = ["aiobotocore", "aiohttp", "asyncpg", "botocore", "fastapi", "httpx", "opentelemetry.sdk"]

_PROGRAM = """
import json, sys
import snsqs, snsqs.aws, snsqs.events, snsqs.queues, snsqs.testing, snsqs.tracing
print(json.dumps(sorted(set(json.loads(sys.argv[1])) & set(sys.modules))))
"""


def test_importing_the_library_loads_no_sdk_and_no_framework() -> None:
    """Neither does importing what a listener, a publisher or a test needs."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(_HEAVY)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == []
