"""`liftos demo` as a person runs it: a real process, real stores, and what it prints to go on."""

import json
import os
import re
import signal
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.local.real_processes import eventually, processes_of, until_gone

from liftos_local import stack
from liftos_local.directory import DataDirectory, is_locked
from liftos_local.state import StackState

pytestmark = pytest.mark.timeout(600)

LIFTOS = Path(sysconfig.get_path("scripts")) / "liftos"
NEW_SHELL = {"HOME": os.environ.get("HOME", "/"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
"""All that is set in the environment: nothing of ours may be needed."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    output: str
    errors: str
    data_dir: Path

    @property
    def commands(self) -> str:
        """The block of commands that was printed at the end."""
        block = self.output[self.output.index("export PATH=") :]
        return block[: block.index("liftos down") + len("liftos down\n")]


def run_demo(data_dir: Path, *options: str, within_seconds: float = 500) -> Ended:
    """Run the demo to its end; where it does not come, fail with all that it and its stack say."""
    with subprocess.Popen(
        [LIFTOS, "demo", "--data-dir", data_dir, *options],
        env=NEW_SHELL,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=within_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            logs = tails_of(data_dir)
            stack.down(data_dir)
            pytest.fail(
                f"The demo has not ended within {within_seconds} s.\n{output}\n{errors}\n{logs}"
            )
    return Ended(process.returncode, output, errors, data_dir)


def tails_of(data_dir: Path) -> str:
    """The last lines of each log of a stack."""
    logs = sorted(DataDirectory(data_dir).log.glob("*.log"))
    return "\n".join(
        f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        for log in logs
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The demo on an empty directory."""
    return run_demo(tmp_path_factory.mktemp("demo") / "data")


def test_the_demo_succeeds_and_leaves_nothing_running(demo: Ended) -> None:
    """It ends with 0; no process of its stack lives, and the directory is free."""
    assert demo.code == 0, demo.errors
    assert processes_of(demo.data_dir) == {}
    assert not is_locked(DataDirectory(demo.data_dir))


def test_every_value_was_compared_and_none_differs(demo: Ended) -> None:
    """208 weeks of 11 columns equal the file, and what rounding took is shown."""
    assert "2,288 weekly values compared, 0 differences" in demo.output
    assert "208 weeks from 2015-11-23" in demo.output
    assert "379,005,696.666667    379,005,696.666667" in demo.output
    assert "which is an assumption: the file names no currency" in demo.output
    residuals = demo.output.partition("What rounding took")[2].partition("Search:")[0]
    assert "-11.0769230784" in residuals


def test_it_shows_searches_the_calendar_and_a_trace(demo: Ended) -> None:
    """Three searches with legs and reasons, a holiday week, and a request through all parts."""
    assert demo.output.count("\nSearch: ") == 3
    for found in ("neural rank 1", "lexical rank 1", "adds 0.500", "Score 1.000: rank 1"):
        assert found in demo.output
    week = demo.output.partition("The calendar of a holiday week")[2]
    assert "Thanksgiving Day (US)" in week
    assert "2018-11-23  Friday" in week
    trace = week.partition("One request through all parts")[2].partition("Timings")[0]
    for who, what in (
        ("liftos-demo", "BatchUpsertEntries"),
        ("liftos-memory", "liftos.memory.v1.MemoryService/SearchDocuments"),
        ("liftos-memory-worker", "index documents"),
        ("liftos-memory-worker milvus", "upsert documents"),
        ("liftos-memory milvus", "search documents"),
        ("liftos-memory redis", "GET"),
        ("liftos-memory postgresql", "COPY batch"),
    ):
        spaced = r"\s+".join(map(re.escape, (*who.split(), what)))
        assert re.search(rf"^{spaced}  ", trace, re.MULTILINE)
    assert "✗" not in demo.output


def test_it_shows_what_modules_build_on(demo: Ended) -> None:
    """A mapping of an own source with what is odd, the other modes, what is kept, and a context."""
    shown = demo.output.partition("What modules build on")[2].partition("The calendar of")[0]
    for found in (
        "Own mapping: Posters, 12.50 EUR; quality",
        "Row 2 is refused: day",
        "Conceptual search for 'large campaigns'",
        "Knowledge search for 'Holiday Sale'",
        "Kept as note: The city billboards",
        "Kept as artifact: Model",
        "Facts from the marketing store about: what happened to the billboards",
    ):
        assert found in shown


def test_it_shows_the_causal_module_on_both_stores(demo: Ended) -> None:
    """Its load with what it acknowledged, and credit of channels by its own store and by Core."""
    shown = demo.output.partition("The Causal module under load")[2]
    shown = shown.partition("One request through all parts")[0]
    assert re.search(r"\d+ calls of 14 methods in [\d.]+ s, \d+ writes acknowledged", shown)
    own, _, core = shown.partition("Core, the public data set")
    assert all(f"\n{channel} " in own for channel in ("meta", "google_ads", "klaviyo", "tiktok"))
    assert all(f"\n{channel} " in core for channel in ("meta", "google_ads", "offline"))


def test_progress_is_plain_lines_where_nobody_watches(demo: Ended) -> None:
    """Without a terminal stderr has lines, of starting, loading and indexing, and no bars."""
    for line in ("processes healthy", "of 21,222 rows", "of 3,052 documents", "All of it holds"):
        assert line in demo.errors
    assert "\x1b" not in demo.errors + demo.output
    assert "━" not in demo.errors


def test_the_printed_commands_run_as_printed(demo: Ended) -> None:
    """In a new shell each of them works, with grpcurl and buf, and the last one stops it all."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", demo.commands],
        env=NEW_SHELL,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for command in ("liftos up", "liftos status", "liftos search", "grpcurl ", "buf curl "):
        assert command in demo.commands
    # grpcurl's sum, buf's hit, and the client's table.
    assert '"revenue_micros": "2559550000000"' in done.stdout
    assert '"title": "Offline media campaign' in done.stdout
    assert "146,847.511111" in done.stdout
    assert "add a day, then find it" in done.stdout
    until_gone(demo.data_dir, within_seconds=10)


def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the work stops the stack as well, and is no success."""
    log = tmp_path / "errors"
    data_dir = tmp_path / "data"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [LIFTOS, "demo", "--data-dir", data_dir],
            env=NEW_SHELL,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            eventually(
                lambda: "Index …" in log.read_text(encoding="utf-8"),
                within_seconds=60,
                what="indexing",
            )
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
        finally:
            process.kill()
            process.wait()

    assert code != 0
    until_gone(data_dir, within_seconds=10)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    """The demo does not touch a directory that holds other things, and says so."""
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")

    refused = run_demo(tmp_path)

    assert refused.code not in (0, 70)
    assert str(tmp_path) in refused.errors
    assert "Traceback" not in refused.errors
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_it_runs_again_on_its_data_and_can_be_kept(demo: Ended) -> None:
    """A second run proves the same, as JSON; with --keep the stack runs on until it is stopped.

    It is the last test here: Klaviyo answers two reports a minute, which has passed meanwhile.
    """
    again = run_demo(demo.data_dir, "--json", "--keep")
    try:
        assert again.code == 0, again.errors
        found = json.loads(again.output)
        assert found["compared_count"] == 208 * 11
        assert found["differences"] == []
        assert all(check["holds"] for check in found["checks"])
        assert found["totals"]["newsletter"]["file"] == found["totals"]["newsletter"]["stored"]
        assert [len(search["hits"]) for search in found["searches"]] == [3, 3, 3]
        assert found["causal"]["writes"] > 0
        assert found["causal"]["failures"] == {}
        assert "liftos up" not in found["commands"]
        assert stack.status(demo.data_dir).state is StackState.HEALTHY
    finally:
        stack.down(demo.data_dir)
    until_gone(demo.data_dir, within_seconds=10)
