"""The stores that every test shares which does not kill them."""

from collections.abc import Iterator

import pytest

from liftos_local.stack import Stack
from liftos_local.testing import store_stack


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, Redis and Milvus, on ports of their own."""
    with store_stack(tmp_path_factory) as stack:
        yield stack
