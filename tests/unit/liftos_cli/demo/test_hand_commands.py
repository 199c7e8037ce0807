"""The commands that the demo prints."""

import shlex
from pathlib import Path

import pytest

from liftos_cli.demo.hand_commands import hand_commands

TRACE = "0123456789abcdef0123456789abcdef"


def commands(data_dir: str = "/data/demo", *, is_running: bool = False) -> str:
    """Return the block for a directory."""
    return hand_commands(Path(data_dir), "127.0.0.1:8003", trace_id=TRACE, is_running=is_running)


def test_the_block_starts_what_does_not_run_and_stops_it_at_the_end() -> None:
    """Starting is the first command on a stopped stack, and stopping always the last one."""
    stopped, running = commands().splitlines(), commands(is_running=True).splitlines()

    assert stopped[1].startswith("liftos up --detach")
    assert not any(line.startswith("liftos up") for line in running)
    assert stopped[-1] == running[-1] == "liftos down"


def test_values_are_real_and_tokens_are_not_printed() -> None:
    """Addresses and ids stand in the commands; the token is made by the shell."""
    block = commands()

    assert f"liftos trace {TRACE}" in block
    assert block.count("127.0.0.1:8003") == 2
    assert 'TOKEN="$(liftos token --org demo --role reader)"' in block
    assert "eyJ" not in block


@pytest.mark.parametrize("data_dir", ["/data/my demo", "/data/it's", "/data/$HOME;ls"])
def test_any_directory_survives_the_shell(data_dir: str) -> None:
    """A directory with characters of the shell arrives as it is."""
    first = shlex.split(commands(data_dir).splitlines()[0])

    assert first[-1] == f"LIFTOS_DATA_DIR={data_dir}"
