"""Copies of this repository, in which a test may change files and run commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 600


def copy_to(folder: Path) -> Path:
    """Return a copy of the repository, without its virtual environments."""
    root = folder / "repository"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))
    shutil.copy(ROOT / ".env.example", root)
    (root / ".venv-aws").symlink_to(ROOT / ".venv-aws")
    return root


def run(root: Path, *module: str) -> str:
    """Run a module in the copy, and return its output; a failure shows it."""
    path = os.pathsep.join(map(str, (root, root / "shared" / "snsqs" / "src")))
    result = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout
