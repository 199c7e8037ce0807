"""The simulated platforms, driven by what the platforms themselves publish for their callers."""

from collections.abc import AsyncIterator

import pytest

from liftos_platforms.testing import Platforms, running_platforms
from liftos_platforms.truth import Platform


@pytest.fixture
async def meta() -> AsyncIterator[Platforms]:
    """Meta's face alone."""
    async with running_platforms(Platform.META) as platforms:
        yield platforms
