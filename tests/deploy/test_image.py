"""The Dockerfile is made of what the repository has and ends unprivileged."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.deploy.chart import REPOSITORY

from liftos_memory.adapters.onnx_embedder import BUILT_MODEL_FILE

DIRECTORY = REPOSITORY / "deploy" / "docker"
KEYWORDS = frozenset(
    {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN"}
    | {"STOPSIGNAL", "USER", "WORKDIR"}
)


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    keyword: str
    text: str


def instructions() -> list[Instruction]:
    """The Dockerfile's instructions, with continued lines joined and comments left out."""
    lines = [
        line
        for line in (DIRECTORY / "Dockerfile").read_text().splitlines()
        if not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        Instruction(keyword, text.strip())
        for keyword, _, text in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def texts(keyword: str) -> list[str]:
    """The arguments of every instruction of one kind."""
    return [instruction.text for instruction in instructions() if instruction.keyword == keyword]


def final_stage() -> list[Instruction]:
    """The instructions of the last stage."""
    every = instructions()
    last = max(index for index, item in enumerate(every) if item.keyword == "FROM")
    return every[last:]


def test_only_known_instructions_are_used() -> None:
    """The file parses, and begins with the base image as an argument."""
    every = instructions()
    assert {instruction.keyword for instruction in every} <= KEYWORDS
    assert every[0] == Instruction("ARG", "BASE=python:3.11-slim-bookworm")


def test_every_stage_builds_on_the_pinned_base() -> None:
    """All stages share the one base, so that the environment built in one runs in the other."""
    assert texts("FROM") == ["${BASE} AS builder", "${BASE} AS runtime"]
    assert ":latest" not in (DIRECTORY / "Dockerfile").read_text()


def test_copied_files_exist_and_reach_the_builder() -> None:
    """Each source is in the repository, and the ignore file lets through that and no more."""
    sources = {
        source
        for text in texts("COPY")
        if "--from=" not in text
        for source in shlex.split(text)[:-1]
    }
    for source in sources:
        assert (REPOSITORY / source).exists(), source
    ignore = (DIRECTORY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignore.index("*") < min(ignore.index(f"!{source}") for source in sources)
    assert {line[1:] for line in ignore if line.startswith("!")} == sources


def test_dependencies_are_installed_by_hash() -> None:
    """The locked run-time set is installed with its hashes checked."""
    (install,) = (text for text in texts("RUN") if "pip sync" in text)
    assert "--require-hashes" in install
    assert install.endswith("/build/run.lock")


def test_the_model_is_built_where_the_embedder_looks() -> None:
    """What builds it is checked by hash, and the file lies in the environment that runs."""
    (build,) = (text for text in texts("RUN") if "build_minilm.py" in text)
    assert "--require-hashes" in build
    assert build.endswith(str(Path("/opt/venv") / BUILT_MODEL_FILE.relative_to(sys.prefix)))


def test_process_runs_unprivileged() -> None:
    """The last user is the numeric one that the chart's pods run as, and it has no shell."""
    stage = final_stage()
    users = [instruction.text for instruction in stage if instruction.keyword == "USER"]
    assert users == ["10001:10001"]
    (create,) = (text for text in texts("RUN") if "useradd" in text)
    assert "--uid 10001" in create
    assert "nologin" in create


def test_process_is_started_without_a_shell() -> None:
    """Signals reach the process itself: commands are lists, and it is told to stop by SIGTERM."""
    stage = {instruction.keyword: instruction.text for instruction in final_stage()}
    assert json.loads(stage["ENTRYPOINT"]) == ["python", "-m"]
    assert json.loads(stage["CMD"]) == ["liftos_memory", "serve"]
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(stage["HEALTHCHECK"].partition("CMD ")[2]) == [
        "python",
        "/app/healthcheck.py",
    ]
    assert stage["EXPOSE"] == "8003 9003 8006 9006 8008 9008 8009 9009 8010 9010"


@pytest.mark.parametrize(
    ("module", "commands"),
    [
        ("liftos_memory", "{serve,worker,migrate,check-config}"),
        ("liftos_ingestion", "{serve,worker,migrate,check-config}"),
        ("liftos_migration", "{serve,worker,migrate,check-config}"),
        ("liftos_causal", "{serve,migrate,check-config}"),
    ],
)
def test_programs_start_as_the_image_starts_them(
    module: str, commands: str, tmp_path: Path
) -> None:
    """The image's entry point, with its import roots, knows the commands of every service."""
    (entry_point,) = texts("ENTRYPOINT")
    interpreter, *options = json.loads(entry_point)
    assert interpreter == "python"
    shown = subprocess.run(
        [sys.executable, *options, module, "--help"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY}/services:{REPOSITORY}/gen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert commands in shown.stdout


def test_import_roots_are_those_of_the_repository() -> None:
    """Both import roots are on the path, and no secret is baked in."""
    environment = " ".join(i.text for i in final_stage() if i.keyword == "ENV")
    assert "PYTHONPATH=/app/services:/app/gen" in environment
    assert not re.search(r"SECRET|PASSWORD|TOKEN", environment)
