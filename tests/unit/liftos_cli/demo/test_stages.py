"""Progress where nobody watches: plain lines on stderr."""

import pytest

from liftos_cli.demo.stages import Stages


def test_lines_tell_quarters_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A stage is told at its start, at each quarter once, and at its end with its time."""
    stages = Stages()
    with stages.stage("Load", total=8, unit="rows") as advance:
        for done in range(9):
            advance(done)
            advance(done)

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Load …"
    assert lines[1:4] == ["Load: 2 of 8 rows", "Load: 4 of 8 rows", "Load: 6 of 8 rows"]
    assert lines[4].startswith("Load: done in ")
    assert len(lines) == 5
    assert stages.seconds["Load"] >= 0


def test_a_stage_without_a_total_has_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be counted is told at its start and its end."""
    with Stages().stage("Stop"):
        pass

    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_stage_that_fails_is_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    """No time is kept of what failed, and nothing says that it is done."""
    stages = Stages()
    with pytest.raises(ZeroDivisionError), stages.stage("Load"):
        raise ZeroDivisionError

    assert stages.seconds == {}
    assert "done" not in capsys.readouterr().err
