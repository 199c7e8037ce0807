"""Runs `liftos` and shell scripts with it as a person would: real processes, nothing patched."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ROOTS = [Path(__file__).parents[3] / root for root in ("services", "gen")]
_LONGEST_SECONDS = 100.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a process said, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A folder to work in, and an environment in which `liftos` is a command."""

    folder: Path
    environment: Mapping[str, str]

    def liftos(self, *arguments: str, stdin: str = "", **variables: str) -> Outcome:
        """Run one command."""
        return self.run([sys.executable, "-m", "liftos_cli", *arguments], stdin, variables)

    def script(self, text: str) -> Outcome:
        """Run a shell script that ends at its first failure."""
        return self.run(["bash", "-euo", "pipefail", "-c", text], "", {})

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "liftos_cli", *arguments],
            cwd=self.folder,
            env={**self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: list[str], stdin: str, variables: Mapping[str, str]) -> Outcome:
        """Run a process to its end."""
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env={**self.environment, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


def command_line(folder: Path, data_dir: Path) -> CommandLine:
    """Return a command line for a data directory, with `liftos` on its path."""
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    liftos = programs / "liftos"
    liftos.write_text(f'#!/bin/sh\nexec {sys.executable} -m liftos_cli "$@"\n')
    liftos.chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIFTOS_")}
    return CommandLine(
        folder,
        own
        | {
            "LIFTOS_DATA_DIR": str(data_dir),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(map(str, _ROOTS)),
        },
    )
