"""Settings for secrets and notifications, for those services that need them."""

from pathlib import Path

import pytest

from liftos_kit.secrets.credentials import EnvironmentCredential, resolve
from liftos_kit.secrets.keyring import generate_key
from liftos_kit.settings import (
    NotificationSettings,
    SecretSettings,
    ServiceSettings,
    SettingsError,
    load,
)

GOOD = {"LIFTOS_JWT_SECRET": "s" * 32}
KEY = generate_key("k1").reveal()


class _Settings(SecretSettings, NotificationSettings):
    """Of a service that has both."""


def _problems(**values: str) -> dict[str, str]:
    environment = {f"LIFTOS_{key.upper()}": value for key, value in values.items()}
    with pytest.raises(SettingsError) as caught:
        load(_Settings, GOOD | environment)
    assert KEY[3:] not in str(caught.value)
    return {
        key.removeprefix("LIFTOS_").lower(): text for key, text in caught.value.problems.items()
    }


def test_nothing_has_to_be_set() -> None:
    """There are no keys then, no places, and no way to private addresses."""
    settings = load(_Settings, GOOD)
    assert settings.keyring() is None
    assert settings.secret_places({}).granted_prefixes == frozenset()
    assert (settings.notification_timeout_seconds, settings.notification_private_targets) == (
        15.0,
        False,
    )


def test_places_come_from_the_settings(tmp_path: Path) -> None:
    """Keys as a text or from a file, granted prefixes, the folder."""
    (tmp_path / "keys").write_text(KEY)
    settings = load(
        _Settings,
        GOOD
        | {
            "LIFTOS_SECRET_KEYS_FILE": str(tmp_path / "keys"),
            "LIFTOS_SECRETS_DIRECTORY": str(tmp_path),
            "LIFTOS_SECRET_ENVIRONMENT_PREFIXES": "acme:META_, other:KLAVIYO_",
        },
    )
    places = settings.secret_places({"META_TOKEN": "correct horse"})
    assert places.directory == tmp_path
    assert places.keyring is not None
    assert places.keyring.key_ids == ("k1",)
    fields = resolve(
        EnvironmentCredential("META_"), resource_name="orgs/acme/connections/m", places=places
    )
    assert fields["token"].reveal() == "correct horse"
    ring = load(_Settings, GOOD | {"LIFTOS_SECRET_KEYS": KEY}).keyring()
    assert ring is not None
    assert ring.key_ids == ("k1",)


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"secret_keys": KEY, "secret_keys_file": "/a"}, "secret_keys_file", "remove one"),
        ({"secret_keys": KEY[3:]}, "secret_keys", "no colon"),
        ({"secret_keys_file": "/a/b"}, "secret_keys_file", "No such file"),
        ({"secrets_directory": "/a/b"}, "secrets_directory", "/a/b is no folder"),
        ({"secret_environment_prefixes": "META_"}, "secret_environment_prefixes", "acme:META_"),
        ({"notification_timeout_seconds": "0"}, "notification_timeout_seconds", "greater than 0"),
        ({"notification_private_targets": "perhaps"}, "notification_private_targets", "boolean"),
    ],
)
def test_rules(values: dict[str, str], key: str, said: str) -> None:
    """Each rule names the key to change and what it should be."""
    assert said in _problems(**values)[key]


def test_keys_never_show() -> None:
    """Not in the settings, nor in their description."""
    settings = load(_Settings, GOOD | {"LIFTOS_SECRET_KEYS": KEY})
    assert KEY[3:] not in f"{settings!r}{settings}{settings.describe()}"
    assert settings.describe()["LIFTOS_SECRET_KEYS"] == "set"


def test_other_services_have_none_of_it() -> None:
    """Their keys stay as they were."""
    ours = set(_Settings.model_fields) - set(ServiceSettings.model_fields)
    assert len(ours) == 6
    with pytest.raises(SettingsError, match="LIFTOS_SECRET_KEYS"):
        load(ServiceSettings, GOOD | {"LIFTOS_SECRET_KEYS": KEY})
