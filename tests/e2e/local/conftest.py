"""One stack for the tests that leave it healthy, and the spec of a service to run."""

from collections.abc import Iterator

import pytest
from tests.e2e.local.real_processes import until_gone

from liftos_local.plan import ServiceSpec
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack, start


@pytest.fixture
def fake_service() -> ServiceSpec:
    """The spec of a service with children of its own."""
    return ServiceSpec(
        name="fake",
        module="tests.e2e.local.fake_service",
        arguments=("serve",),
        listens=True,
        health_service="fake.v1.FakeService",
        migrates=True,
        drain_seconds=5,
    )


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack of stores for the tests that leave it healthy."""
    data_dir = tmp_path_factory.mktemp("shared")
    with start(data_dir, ports=PortPlan.automatic(), stores_only=True) as stack:
        yield stack
    until_gone(data_dir, within_seconds=1)
