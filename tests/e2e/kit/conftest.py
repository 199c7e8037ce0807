"""What one module of tests calls a secret is none in the next."""

from collections.abc import Iterator

import pytest

from liftos_kit.redaction import KnownSecrets


@pytest.fixture(autouse=True, scope="module")
def known_secrets() -> Iterator[KnownSecrets]:
    """Secrets that the process knows, none at first."""
    known = KnownSecrets()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("liftos_kit.redaction._known", known)
        yield known
