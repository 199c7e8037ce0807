"""What goes between the processes of a stack as files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_local.directory import load_secrets, prepare, try_lock
from liftos_local.plan import (
    MODULE_STORES,
    PLATFORMS,
    SERVICES,
    Plan,
    causal_services,
    owner_environment,
    process_environment,
    read_plan,
    stack_environment,
    write_plan,
)
from liftos_local.ports import DEFAULT_PORTS
from liftos_local.processes import Account, closed_folder
from liftos_local.state import (
    ProcessState,
    ProcessStatus,
    StackState,
    StackStatus,
    read_status,
)

PLAN = Plan(
    ports=DEFAULT_PORTS,
    services=[*SERVICES.values(), *causal_services("acme")],
    durable=True,
    attached=False,
    settings={"LIFTOS_LOG_LEVEL": "DEBUG"},
    module_org="acme",
)
WORDS = st.text(max_size=20)
PROCESSES = st.builds(
    ProcessStatus,
    name=WORDS,
    state=st.sampled_from(ProcessState),
    since=WORDS,
    log_file=WORDS,
    address=st.none() | WORDS,
    pid=st.none() | st.integers(1, 2**22),
    restarts=st.integers(0),
    detail=st.none() | WORDS,
    log_tail=st.lists(WORDS, max_size=3).map(tuple),
    more_addresses=st.dictionaries(WORDS, WORDS, max_size=2),
)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    """The supervisor reads what was written."""
    directory = prepare(tmp_path / "data")
    write_plan(PLAN, directory)
    assert read_plan(directory) == PLAN


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(processes=st.lists(PROCESSES, max_size=3), state=st.sampled_from(StackState))
def test_status_survives_its_file(
    tmp_path: Path, processes: list[ProcessStatus], state: StackState
) -> None:
    """A live stack's status is read as written; a dead one's says how it ended."""
    directory = prepare(tmp_path / "data")
    written = StackStatus(str(directory.root), state, 42, None, None, tuple(processes))
    directory.state_file.write_text(written.to_json())
    dead = read_status(directory.root)
    ended = (StackState.STOPPED, StackState.FAILED, StackState.KILLED)
    assert dead.state is (state if state in ended else StackState.KILLED)
    assert dead.supervisor_pid is None
    assert {(entry.state, entry.pid) for entry in dead.processes} <= {(ProcessState.STOPPED, None)}
    lock = try_lock(directory)
    assert lock is not None
    with open(lock, "rb"):  # noqa: PTH123 - a descriptor
        assert read_status(directory.root) == written


@pytest.mark.parametrize("torn", [None, ""])
def test_status_without_a_usable_file_is_stopped(tmp_path: Path, torn: str | None) -> None:
    """A directory that never ran, or lost power, is a stopped stack."""
    directory = prepare(tmp_path / "data")
    if torn is not None:
        directory.state_file.write_text(torn)
    assert read_status(directory.root) == StackStatus(str(directory.root), StackState.STOPPED)


def test_status_as_json_lists_every_address() -> None:
    """Programs find the addresses by name, beside the processes."""
    process = ProcessStatus("redis", ProcessState.HEALTHY, "now", "log", "127.0.0.1:1", 7)
    worker = replace(process, name="memory-worker", address=None)
    shown = json.loads(
        StackStatus("/d", StackState.HEALTHY, 1, None, None, (process, worker)).to_json()
    )
    assert shown["addresses"] == {"redis": "127.0.0.1:1"}
    assert shown["processes"][0]["state"] == "healthy"


def test_a_service_sees_its_own_ports_and_not_the_owner(tmp_path: Path) -> None:
    """The variables are those the services know; the owner's URL is for `migrate` alone."""
    directory = prepare(tmp_path / "data")
    secrets = load_secrets(directory)
    shared = stack_environment(PLAN, directory, secrets)
    assert shared["LIFTOS_POSTGRES_URL"].endswith("@127.0.0.1:15432/liftos")
    assert shared["LIFTOS_POSTGRES_URL"].startswith("postgresql://liftos_app:")
    assert shared["LIFTOS_MILVUS_URL"] == "http://127.0.0.1:19530"
    assert "LIFTOS_POSTGRES_OWNER_URL" not in shared
    owner_url = owner_environment(PLAN, secrets)["LIFTOS_POSTGRES_OWNER_URL"]
    assert owner_url.startswith("postgresql://liftos_owner:")
    assert process_environment(SERVICES["memory"], PLAN, directory, secrets) == shared | {
        "LIFTOS_LOG_LEVEL": "DEBUG",
        "LIFTOS_PORT": "8003",
        "LIFTOS_METRICS_PORT": "9003",
        "LIFTOS_SECRET_KEYS": secrets.memory_key,
    }
    worker = process_environment(SERVICES["memory-worker"], PLAN, directory, secrets)
    assert worker == shared | {
        "LIFTOS_LOG_LEVEL": "DEBUG",
        "LIFTOS_METRICS_PORT": "9103",
        "LIFTOS_SECRET_KEYS": secrets.memory_key,
    }


def test_ingestion_reads_from_the_platforms_of_the_stack(tmp_path: Path) -> None:
    """It finds Memory and its key; the simulated platforms only where the stack has them."""
    directory = prepare(tmp_path / "data")
    secrets = load_secrets(directory)
    given = process_environment(SERVICES["ingestion-worker"], PLAN, directory, secrets)
    assert given["LIFTOS_MEMORY_ADDRESS"] == "127.0.0.1:8003"
    assert given["LIFTOS_SECRET_KEYS"] == secrets.ingestion_key
    assert given["LIFTOS_SOURCE_FILES_DIRECTORY"] == str(directory.files)
    assert given["LIFTOS_META_URL"] == "http://127.0.0.1:8020"
    assert given["LIFTOS_GOOGLE_ADS_TOKEN_URL"] == "http://127.0.0.1:8022/token"
    real = {name: port for name, port in DEFAULT_PORTS.items() if name not in PLATFORMS.ports}
    alone = process_environment(
        SERVICES["ingestion"], replace(PLAN, ports=real), directory, secrets
    )
    assert set(alone) == {
        *stack_environment(PLAN, directory, secrets),
        "LIFTOS_LOG_LEVEL",
        "LIFTOS_PORT",
        "LIFTOS_METRICS_PORT",
        "LIFTOS_MEMORY_ADDRESS",
        "LIFTOS_SECRET_KEYS",
        "LIFTOS_SOURCE_FILES_DIRECTORY",
        "LIFTOS_ALLOW_PRIVATE_ADDRESSES",
        "LIFTOS_NOTIFICATION_PRIVATE_TARGETS",
    }


def test_migration_finds_memory_snapshots_and_the_module(tmp_path: Path) -> None:
    """It may name the stores of the stack's module, for the organisation whose module it is."""
    directory = prepare(tmp_path / "data")
    secrets = load_secrets(directory)
    seen = process_environment(SERVICES["migration-worker"], PLAN, directory, secrets)
    assert seen["LIFTOS_MEMORY_ADDRESS"] == "127.0.0.1:8003"
    assert seen["LIFTOS_SNAPSHOT_DIRECTORY"] == str(directory.snapshots)
    assert seen["LIFTOS_SNAPSHOT_RESTORE_URL"].startswith("postgresql://liftos_restore:")
    assert seen["LIFTOS_SOURCE_ENVIRONMENT_PREFIXES"] == "acme:CAUSAL_"
    assert seen["CAUSAL_DATABASE_URL"].endswith("@127.0.0.1:15433/causal_module_db")
    alone = replace(PLAN, module_org=None)
    without = process_environment(SERVICES["migration-worker"], alone, directory, secrets)
    assert not [name for name in without if "CAUSAL" in name or "PREFIXES" in name]


def test_the_causal_module_has_stores_of_its_own_and_a_side_on_core(tmp_path: Path) -> None:
    """One side owns the tables of its own server, the other finds Memory and Ingestion."""
    directory = prepare(tmp_path / "data")
    secrets = load_secrets(directory)
    module, core = (
        process_environment(spec, PLAN, directory, secrets) for spec in causal_services("acme")
    )
    url = (
        f"postgresql://causal_module:{secrets.module_postgres_password}@127.0.0.1:15433"
        "/causal_module_db"
    )
    assert module["LIFTOS_STORE"] == "module"
    assert module["LIFTOS_PORT"] == "8008"
    assert module["LIFTOS_POSTGRES_URL"] == url
    assert (
        module["LIFTOS_REDIS_URL"] == f"redis://:{secrets.module_redis_password}@127.0.0.1:16380/0"
    )
    owner = owner_environment(PLAN, secrets, server=MODULE_STORES[0])
    assert owner == {"LIFTOS_POSTGRES_OWNER_URL": url}
    assert core["LIFTOS_STORE"] == "core"
    assert core["LIFTOS_MEMORY_ADDRESS"] == "127.0.0.1:8003"
    assert core["LIFTOS_INGESTION_ADDRESS"] == "127.0.0.1:8006"
    assert secrets.module_postgres_password not in "".join(core.values())


def test_settings_never_replace_what_the_stack_knows(tmp_path: Path) -> None:
    """A port or a store given as a setting is overruled by the stack's own."""
    given = {"LIFTOS_PORT": "1", "LIFTOS_METRICS_PORT": "2", "LIFTOS_REDIS_URL": "redis://other"}
    directory = prepare(tmp_path / "data")
    secrets = load_secrets(directory)
    seen = process_environment(
        SERVICES["memory"], replace(PLAN, settings=given), directory, secrets
    )
    assert seen == stack_environment(PLAN, directory, secrets) | {
        "LIFTOS_PORT": "8003",
        "LIFTOS_METRICS_PORT": "9003",
        "LIFTOS_SECRET_KEYS": secrets.memory_key,
    }


def test_the_outermost_closed_folder_is_named(tmp_path: Path) -> None:
    """Whether an account may pass depends on its bit of every folder on the way."""
    tmp_path.chmod(0o755)
    outer = tmp_path / "outer"
    inner = outer / "inner"
    inner.mkdir(parents=True)
    facts = outer.stat()
    stranger = Account("stranger", facts.st_uid + 1, facts.st_gid + 1)
    member = Account("member", facts.st_uid + 1, facts.st_gid)
    outer.chmod(0o710)
    inner.chmod(0o700)
    below_pytest = [folder for folder in tmp_path.parents if not folder.stat().st_mode & 0o001]
    assert closed_folder(inner, stranger) == (below_pytest[-1] if below_pytest else outer)
    if not below_pytest:
        assert closed_folder(inner, member) == inner
    assert closed_folder(inner, Account("owner", facts.st_uid, facts.st_gid)) is None
