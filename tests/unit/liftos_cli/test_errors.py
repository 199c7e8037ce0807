"""Errors become sentences and exit codes."""

import json
import platform
from pathlib import Path

import pytest
from typer.testing import CliRunner

from liftos.memory.v1.memory_service_pb2 import WriteFence
from liftos_cli.main import app
from liftos_cli.output import Column, print_json, print_table


def test_an_unknown_option_is_an_error_of_usage() -> None:
    """Exit code 2, with the usage."""
    outcome = CliRunner().invoke(app, ["version", "--colour"])
    assert outcome.exit_code == 2
    assert "--colour" in outcome.stderr


def test_the_version_is_an_option_too() -> None:
    """As of most programs, and the same line."""
    outcome = CliRunner().invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == CliRunner().invoke(app, ["version"]).stdout


def test_a_command_that_is_nearly_right_is_suggested() -> None:
    """A slip of the finger gets the name that was meant."""
    outcome = CliRunner().invoke(app, ["entry"])
    assert outcome.exit_code == 2
    assert "'entries'" in outcome.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_is_a_sentence_unless_asked(
    monkeypatch: pytest.MonkeyPatch, *, debug: bool
) -> None:
    """An unexpected error ends with 70, and shows its origin only with --debug."""

    def fail() -> str:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(platform, "python_version", fail)
    outcome = CliRunner().invoke(app, [*(["--debug"] if debug else []), "version"])
    assert outcome.exit_code == 70
    assert "Error: ZeroDivisionError: a fault.\n" in outcome.stderr
    assert ("Traceback" in outcome.stderr) is debug


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said."""

    def interrupt() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(platform, "python_version", interrupt)
    outcome = CliRunner().invoke(app, ["version"])
    assert (outcome.exit_code, outcome.stderr) == (130, "")


def test_a_token_needs_a_secret(tmp_path: Path) -> None:
    """Without a stack there is no token, and nothing is made on the way."""
    arguments = ["token", "--org", "demo", "--role", "admin", "--data-dir", str(tmp_path / "none")]
    outcome = CliRunner().invoke(app, arguments, env={"LIFTOS_JWT_SECRET": ""})
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "liftos up" in outcome.stderr
    assert not (tmp_path / "none").exists()


def test_the_token_is_all_that_is_printed() -> None:
    """So that `$(liftos token …)` is the token."""
    arguments = ["token", "--org", "demo", "--role", "reader"]
    outcome = CliRunner().invoke(app, arguments, env={"LIFTOS_JWT_SECRET": "s" * 32})
    assert outcome.exit_code == 0
    assert len(outcome.stdout.split()) == 1
    assert outcome.stderr == ""


def test_a_token_of_another_organisation_is_refused() -> None:
    """Numbers of one organisation are never shown for those of another."""
    environment = {"LIFTOS_JWT_SECRET": "s" * 32}
    arguments = ["token", "--org", "demo", "--role", "reader"]
    token = CliRunner().invoke(app, arguments, env=environment).stdout.strip()
    arguments = ["entries", "list", "--target", "127.0.0.1:1", "--token", token, "--org", "acme"]
    outcome = CliRunner().invoke(app, arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "the token is of organisation 'demo', not of 'acme'" in outcome.stderr


def test_tables_are_plain_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns with two spaces between, numbers flush right, one line for each row."""
    columns = [Column("name"), Column("clicks", number=True)]
    print_table(columns, [("[bold]a", "5"), ("two\nlines", "1,000")])
    assert capsys.readouterr().out == "name       clicks\n[bold]a         5\ntwo lines   1,000\n"


def test_json_has_the_names_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages inside of documents are protobuf JSON."""
    print_json({"fences": [WriteFence(scope="*", epoch=3, closed=True)]})
    assert json.loads(capsys.readouterr().out) == {
        "fences": [{"scope": "*", "epoch": "3", "closed": True}]
    }
