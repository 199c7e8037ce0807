"""The stores that every test shares which does not kill them, and the order and care of a run."""

import gc
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings
from tests.secret_watch import SecretWatch
from tests.stack_watch import StackWatch
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from liftos_local.stack import Stack
from liftos_local.testing import store_stack

# No test fails because the machine was busy.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

ONE_STACK: Final = "tests/e2e/cli/"
"""The tests of this folder share a stack, which ends with the last of them."""

LONG_TESTS: Final = (
    "tests/e2e/demo/test_demo.py",
    ONE_STACK,
    "tests/e2e/ingestion/test_fault_plans.py",
    "tests/e2e/ingestion/test_klaviyo.py",
    "tests/e2e/ingestion/test_meta.py",
    "tests/e2e/docs/test_examples.py",
    "tests/e2e/memory/test_faults.py",
    "tests/e2e/kit/test_jobs.py",
    "tests/e2e/local/test_stack.py",
    "tests/e2e/ingestion/test_google_ads.py",
    "tests/e2e/kit/test_notifications.py",
)
"""The files and folders that take longest, longest first: none may be the last to begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones; all others keep their order."""

    def place(item: pytest.Item) -> int:
        found = (place for place, path in enumerate(LONG_TESTS) if item.nodeid.startswith(path))
        return next(found, len(LONG_TESTS))

    items.sort(key=place)


class _ByFileOrStack(LoadFileScheduling):  # type: ignore[misc]
    """Gives each process a file at a time, or all files that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        return ONE_STACK if nodeid.startswith(ONE_STACK) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Say how tests are distributed."""
    return _ByFileOrStack(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Watch over the secrets of tests that start processes and servers, and over their stacks."""
    watched = ("tests/contract/", "tests/e2e/", "tests/inprocess/")
    config.pluginmanager.register(SecretWatch(config, watched=watched))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(StackWatch())
    # To look for garbage among all that is imported and collected doubles the time that they take.
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage from here on, among what tests leave."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, Redis and Milvus, on ports of their own."""
    with store_stack(tmp_path_factory) as stack:
        yield stack
