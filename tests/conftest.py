"""The stores that every test shares which does not kill them, and the watch over secrets."""

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings
from tests.secret_watch import SecretWatch

from liftos_local.stack import Stack
from liftos_local.testing import store_stack

# No test fails because the machine was busy.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

LONG_FILES: Final = (
    "tests/e2e/demo/test_demo.py",
    "tests/e2e/ingestion/test_fault_plans.py",
    "tests/e2e/ingestion/test_klaviyo.py",
    "tests/e2e/ingestion/test_meta.py",
    "tests/e2e/cli/test_documented_examples.py",
    "tests/e2e/docs/test_examples.py",
    "tests/e2e/memory/test_faults.py",
    "tests/e2e/kit/test_jobs.py",
    "tests/e2e/cli/test_exit_codes.py",
    "tests/e2e/local/test_stack.py",
    "tests/e2e/cli/test_import.py",
    "tests/e2e/ingestion/test_google_ads.py",
    "tests/e2e/kit/test_notifications.py",
    "tests/e2e/cli/test_ingestion.py",
)
"""The files that take longest, longest first: none of them may be the last to begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files; all others keep their order."""
    places = {path: place for place, path in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_configure(config: pytest.Config) -> None:
    """Watch over the secrets of tests that start processes and servers."""
    watched = ("tests/contract/", "tests/e2e/", "tests/inprocess/")
    config.pluginmanager.register(SecretWatch(config, watched=watched))


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, Redis and Milvus, on ports of their own."""
    with store_stack(tmp_path_factory) as stack:
        yield stack
