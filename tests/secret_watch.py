"""Notes the secrets of a test run, and fails the run where one of them was written down.

Known are the values that tests hand to processes, that servers inside of tests are given, and that
stacks make for themselves. Each process that runs tests notes its own; the first one has them all
at the end and searches what the run has left.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
from tests.secret_scan import Scan, scan, secrets_of_stacks

from liftos_kit.redaction import KnownSecrets, is_secret_key

CAPTURED: Final = "captured-output.txt"
"""What the tests of a process have written, in the process's own directory."""

_NOTED: Final = "noted_secrets"
# Shorter or plainer values stand in texts by chance.
_SHORTEST: Final = 12
_FEWEST_CHARACTERS: Final = 6
_SEPARATOR: Final = re.compile(r"[,\s]+")
_KEY: Final = re.compile(r"(?:[\w-]+:)?([\w+/=.-]+)")
# Names of settings that hold where a secret is, not the secret.
_PLACES: Final = ("_FILE", "_DIRECTORY", "_PREFIXES", "_URL")


class SecretWatch:
    """Hooks of pytest.

    Args:
        config: Of this process.
        watched: Beginnings of the ids of tests whose secrets are noted, and what they print. Unit
            tests make them up by the thousand, and start nothing that redacts what it prints.
    """

    def __init__(self, config: pytest.Config, *, watched: tuple[str, ...]) -> None:
        self._config = config
        self._watched = watched
        self._is_noting = False
        self._noted: dict[str, str] = {}
        self._scan: Scan | None = None
        sys.addaudithook(self._audit)
        remember = KnownSecrets.remember

        def remember_and_note(known: KnownSecrets, value: str) -> None:
            self._note(value, "a secret of a server")
            remember(known, value)

        KnownSecrets.remember = remember_and_note  # type: ignore[method-assign,assignment]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note what the test hands out, its fixtures included."""
        self._is_noting = item.nodeid.startswith(self._watched)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the test has printed, where it ran."""
        # Records that pytest itself collects are as they were before the process redacts them.
        written = (content for name, content in report.sections if "log" not in name.split())
        text = "".join(f"{content}\n" for content in written)
        is_watched = report.nodeid.startswith(self._watched)
        if text and is_watched and not hasattr(report, "node"):
            path = self._directory / CAPTURED
            with path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"== {report.nodeid.partition('[')[0]}\n{text}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what another process has noted."""
        self._noted |= getattr(node, "workeroutput", {}).get(_NOTED, {})

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what was noted, or search for it."""
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[_NOTED] = self._noted
            return
        known = self._noted | secrets_of_stacks(self._directory)
        self._scan = scan(self._directory, known)
        if self._scan.leaks and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was read and where secrets are, never the secret."""
        if self._scan is None:
            return
        for leak in self._scan.leaks:
            terminalreporter.write_line(
                f"SECRET WRITTEN DOWN: {leak.kind} in {leak.path}:{leak.line}", red=True
            )
        terminalreporter.write_line(
            f"{len(self._scan.leaks)} secrets in {self._scan.files} logs, spans and outputs"
            f" ({self._scan.bytes / 1e6:.1f} MB)"
        )

    @property
    def _directory(self) -> Path:
        factory: pytest.TempPathFactory = self._config._tmp_path_factory  # type: ignore[attr-defined]
        return factory.getbasetemp()

    def _note(self, value: str, kind: str) -> None:
        if self._is_noting and len(value) >= _SHORTEST and len(set(value)) >= _FEWEST_CHARACTERS:
            self._noted.setdefault(value, kind)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and arguments[3]:
            for name, value in _secrets_of_environment(arguments[3]):
                self._note(value, name)


def _secrets_of_environment(environment: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each secret that a process is given, passwords of URLs included."""
    for key, text in environment.items():
        name, value = os.fsdecode(key), os.fsdecode(text)
        if os.environ.get(name) == value:
            continue  # The machine's own, not a test's.
        password = _password_of(value)
        if password:
            yield name, unquote(password)
        if is_secret_key(name) and not name.endswith(_PLACES):
            yield name, value
            # Several keys may stand in one variable, each behind its id.
            for found in map(_KEY.fullmatch, _SEPARATOR.split(value)):
                if found is not None:
                    yield name, found[1]


def _password_of(text: str) -> str | None:
    try:
        return urlsplit(text).password
    except ValueError:
        return None  # No URL, which is for the process to say.
