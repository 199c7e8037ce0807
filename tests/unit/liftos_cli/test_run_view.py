"""Runs as people are told of them."""

import pytest

from liftos.common.v1.marketing_pb2 import Progress
from liftos.ingestion.v1.run_pb2 import Run, RunState
from liftos_cli.run_view import print_run

NAME = f"orgs/demo/runs/{'0123456789abcdef' * 2}"


@pytest.mark.parametrize(
    ("state", "slice_count", "is_told"),
    [
        (RunState.RUN_STATE_SUCCEEDED, 0, True),
        (RunState.RUN_STATE_SUCCEEDED, 3, False),
        (RunState.RUN_STATE_PENDING, 0, False),
    ],
)
def test_a_run_that_had_nothing_to_read_says_why(
    capsys: pytest.CaptureFixture[str], state: RunState.ValueType, slice_count: int, is_told: bool
) -> None:
    """It succeeds, and nobody takes that for days that were read."""
    progress = Progress(total_count=slice_count, succeeded_count=slice_count)
    print_run(Run(name=NAME, state=state, progress=progress))
    told = capsys.readouterr().err
    assert ("Nothing was read: the days that were asked for are final" in told) == is_told
