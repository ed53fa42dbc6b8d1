"""The project's pytest plugins, on tests of their own."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("processes")

ROOT = Path(__file__).parent.parent

STARTS = """
    import subprocess, sys
    import pytest

    def start():
        try:
            subprocess.run([sys.executable, "--version"], check=True)
        except Exception:
            pass

    def test_undeclared(): start()
    def test_declared(processes): start()

    @pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.processes)])
    def engine(request): return request.param

    def test_parameter(engine):
        if engine == "server": start()
"""

LOGS = """
    def test_it():
        for number in range(1000):
            print("line", number)
        raise AssertionError("the reason")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def test_a_fast_test_that_starts_a_process_fails(project: pytest.Pytester) -> None:
    """Although it ignores the error; `-m fast` selects it and the parameter that needs no process."""
    project.makepyfile(STARTS)
    result = project.runpytest_subprocess("-p", "tests.fast", "-m", "fast")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines("*test_undeclared starts a process (subprocess.Popen)*")
    project.runpytest_subprocess("-p", "tests.fast").assert_outcomes(passed=3, failed=1)


def test_a_failure_shows_the_end_of_its_log(project: pytest.Pytester) -> None:
    """The whole log is in the file that the failure names."""
    project.makepyfile(LOGS)
    result = project.runpytest_subprocess("-p", "tests.failures")
    result.stdout.fnmatch_lines(["E * the reason", "*Captured stdout call*", "* the last 20 of 1000 lines*"])
    assert len(result.outlines) < 60
    [path] = [line.split()[-1] for line in result.outlines if "all are in" in line]
    assert len(Path(path).read_text(encoding="utf-8").splitlines()) == 1000
    Path(path).unlink()
