"""The choice of ports."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from liftos_local.directory import DataDirectory, prepare
from liftos_local.errors import PortTakenError
from liftos_local.plan import MODULE_STORES, PLATFORMS, SERVICES, STORES, causal_services
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


def _chosen(names: Sequence[str], directory: DataDirectory) -> Mapping[str, int]:
    with choose_ports(PortPlan.automatic(), names, directory=directory) as chosen:
        return chosen.numbers


def test_automatic_ports_are_free_distinct_and_kept(directory: DataDirectory) -> None:
    """The second choice is the first one, where nobody took a port meanwhile."""
    names = [f"process-{number}" for number in range(30)]
    first = _chosen(names, directory)
    assert len(set(first.values())) == len(names)
    assert _chosen(names, directory) == first
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", first["process-3"]))
        listener.listen()
        second = _chosen(names, directory)
    assert {name for name in names if first[name] != second[name]} == {"process-3"}


def test_stacks_that_start_at_once_choose_different_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port is held from its choice on, long before its process listens on it."""
    monkeypatch.setattr("liftos_local.ports._AUTOMATIC_RANGE", range(20_000, 20_120))
    names = [f"process-{number}" for number in range(30)]
    one, other = prepare(tmp_path / "one"), prepare(tmp_path / "other")
    with (
        choose_ports(PortPlan.automatic(), names, directory=one) as first,
        choose_ports(PortPlan.automatic(), names, directory=other) as second,
    ):
        assert not set(first.numbers.values()) & set(second.numbers.values())


def test_a_process_listens_on_a_port_that_is_held(directory: DataDirectory) -> None:
    """What holds a port neither keeps its own process from it nor takes its connections."""
    with (
        choose_ports(PortPlan.automatic(), ["redis"], directory=directory) as chosen,
        socket.create_server(("127.0.0.1", chosen.numbers["redis"])) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"here")
            assert client.recv(4) == b"here"


def test_nothing_is_held_when_a_port_is_taken(taken_port: int, directory: DataDirectory) -> None:
    """A refusal gives back what was held until then."""
    free = _chosen(["redis"], directory)["redis"]
    plan = PortPlan({"redis": free, "memory": taken_port})
    with pytest.raises(PortTakenError, match="for memory"):
        choose_ports(plan, ["redis", "memory"], directory=directory)
    with socket.socket() as strict:
        strict.bind(("127.0.0.1", free))


def test_a_start_of_the_stores_alone_forgets_no_port(directory: DataDirectory) -> None:
    """Ports of processes that are not started this time are kept for the next."""
    first = _chosen(["redis", "memory"], directory)
    _chosen(["redis"], directory)
    assert _chosen(["memory"], directory) == {"memory": first["memory"]}


def test_a_torn_file_of_ports_is_no_obstacle(directory: DataDirectory) -> None:
    """After a loss of power the file may be empty: ports are chosen anew."""
    directory.ports_file.write_text("")
    assert set(_chosen(["redis"], directory)) == {"redis"}


def test_everything_that_can_be_started_has_a_default_port() -> None:
    """Nothing is missing from the documented ports, and no two are equal."""
    needed = {
        *STORES,
        *MODULE_STORES,
        *(
            name
            for spec in (*SERVICES.values(), PLATFORMS, *causal_services("acme"))
            for name in spec.port_names
        ),
    }
    assert needed == set(DEFAULT_PORTS)
    assert len(set(DEFAULT_PORTS.values())) == len(DEFAULT_PORTS)
