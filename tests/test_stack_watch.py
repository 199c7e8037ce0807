"""No stack of a test run outlives it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.local.real_processes import until_gone

from liftos_local.directory import DataDirectory

_ROOT = Path(__file__).parents[1]
_TESTS = {
    "conftest.py": """
from tests.stack_watch import StackWatch

def pytest_configure(config):
    config.pluginmanager.register(StackWatch())
""",
    "test_killed.py": """
import os, signal
from liftos_local.ports import PortPlan
from liftos_local.stack import up

def test_a_run_that_is_killed(tmp_path):
    up(tmp_path, ports=PortPlan.automatic(), stores_only=True)
    os.kill(os.getpid(), signal.SIGKILL)
""",
}


def test_a_stack_ends_with_the_run_that_is_killed(tmp_path: Path) -> None:
    """Though it was started to stay."""
    for name, text in _TESTS.items():
        (tmp_path / name).write_text(text)
    base = tmp_path / "base"
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:asyncio", f"--basetemp={base}")
    roots = (_ROOT, _ROOT / "services", _ROOT / "gen")
    killed = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))},
        check=False,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL
    (data_dir,) = {path.resolve().parent for path in base.glob("*/secrets.json")}
    assert DataDirectory(data_dir).state_file.exists()
    until_gone(data_dir, within_seconds=60)
