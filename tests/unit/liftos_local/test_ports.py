"""The choice of ports."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftos_local.directory import DataDirectory, prepare
from liftos_local.errors import PortTakenError
from liftos_local.plan import PLATFORMS, SERVICES, STORES
from liftos_local.ports import DEFAULT_PORTS, PortPlan, choose_ports, is_free, port_owner


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    """An empty data directory."""
    return prepare(tmp_path / "data")


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"])
def taken_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port this process listens on, in one of the ways that collide with ours."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((request.param, 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_taken_port_is_told_with_its_owner(taken_port: int, directory: DataDirectory) -> None:
    """The error says which name, which port and which process."""
    assert not is_free(taken_port)
    assert port_owner(taken_port).startswith(f"process {os.getpid()} (")
    with pytest.raises(PortTakenError, match=f"port {taken_port} for redis .*{os.getpid()}"):
        choose_ports(PortPlan({"redis": taken_port}), ["redis"], directory=directory)


def test_automatic_ports_are_free_distinct_and_kept(directory: DataDirectory) -> None:
    """The second choice is the first one, where nobody took a port meanwhile."""
    names = [f"process-{number}" for number in range(30)]
    first = choose_ports(PortPlan.automatic(), names, directory=directory)
    assert len(set(first.values())) == len(names)
    assert choose_ports(PortPlan.automatic(), names, directory=directory) == first
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", first["process-3"]))
        listener.listen()
        second = choose_ports(PortPlan.automatic(), names, directory=directory)
    assert {name for name in names if first[name] != second[name]} == {"process-3"}


def test_a_start_of_the_stores_alone_forgets_no_port(directory: DataDirectory) -> None:
    """Ports of processes that are not started this time are kept for the next."""
    first = choose_ports(PortPlan.automatic(), ["redis", "memory"], directory=directory)
    choose_ports(PortPlan.automatic(), ["redis"], directory=directory)
    assert choose_ports(PortPlan.automatic(), ["memory"], directory=directory) == {
        "memory": first["memory"]
    }


def test_a_torn_file_of_ports_is_no_obstacle(directory: DataDirectory) -> None:
    """After a loss of power the file may be empty: ports are chosen anew."""
    directory.ports_file.write_text("")
    assert set(choose_ports(PortPlan.automatic(), ["redis"], directory=directory)) == {"redis"}


def test_everything_that_can_be_started_has_a_default_port() -> None:
    """Nothing is missing from the documented ports, and no two are equal."""
    needed = {
        *STORES,
        *(name for spec in (*SERVICES.values(), PLATFORMS) for name in spec.port_names),
    }
    assert needed == set(DEFAULT_PORTS)
    assert len(set(DEFAULT_PORTS.values())) == len(DEFAULT_PORTS)
