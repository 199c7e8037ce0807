"""The environment is checked as a whole, and secrets stay where they are."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator

from liftos_kit.settings import ServiceSettings, SettingsError, load

SECRET = "s" * 32
GOOD = {"LIFTOS_JWT_SECRET": SECRET}


def _problems(**values: str) -> dict[str, str]:
    environment = {f"LIFTOS_{key.upper()}": value for key, value in values.items()}
    with pytest.raises(SettingsError) as caught:
        load(ServiceSettings, environment)
    return {
        key.removeprefix("LIFTOS_").lower(): text for key, text in caught.value.problems.items()
    }


def test_defaults() -> None:
    """A secret is all that must be given; other people's keys are left alone."""
    settings = load(ServiceSettings, {**GOOD, "PATH": "/bin", "LIFT": "x"})
    assert (settings.host, settings.processes, settings.drain_seconds) == ("127.0.0.1", 1, 20.0)
    assert settings.effective_metrics_port == 0


def test_values_are_read() -> None:
    """Text becomes what the field is; the metrics port is 1000 above the port; empty is unset."""
    settings = load(
        ServiceSettings,
        {**GOOD, "LIFTOS_PORT": "8003", "LIFTOS_REFLECTION": "false", "LIFTOS_REDIS_URL": ""},
    )
    assert (settings.port, settings.effective_metrics_port) == (8_003, 9_003)
    assert settings.reflection is False
    assert settings.redis_url is None


def test_every_wrong_key_is_told_at_once() -> None:
    """Unknown keys, wrong values and broken rules between keys come in one error."""
    problems = _problems(
        port="eighty", drain_seconds="-1", processes="0", memry_url="x", log_level="LOUD"
    )
    assert set(problems) == {"port", "drain_seconds", "processes", "memry_url", "log_level"}
    assert "not 'eighty'" in problems["port"]
    assert "no setting" in problems["memry_url"]


def test_what_a_check_says_is_told_in_its_own_words() -> None:
    """A field's check of a service's own is a sentence, without the name of an error before it."""

    def even(value: int) -> int:
        if value % 2:
            raise ValueError("has to be even")
        return value

    class Settings(ServiceSettings):
        shards: Annotated[int, AfterValidator(even)] = 2

    with pytest.raises(SettingsError) as caught:
        load(Settings, {**GOOD, "LIFTOS_SHARDS": "3"})
    assert caught.value.problems == {"LIFTOS_SHARDS": "has to be even, not '3'"}


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({}, "jwt_secret", "HS256 needs it"),
        ({"jwt_secret": "short"}, "jwt_secret", "32 bytes"),
        ({"jwt_algorithm": "RS256"}, "jwt_jwks_url", "RS256 needs"),
        (
            {"jwt_algorithm": "RS256", "jwt_jwks_url": "http://a", "jwt_jwks_file": "/a"},
            "jwt_jwks_url",
            "either",
        ),
        ({"jwt_algorithm": "RS256"}, "page_token_secret", "RS256 needs"),
        ({"jwt_algorithm": "RS256", "jwt_secret": SECRET}, "jwt_secret", "remove it"),
        ({"jwt_algorithm": "none"}, "jwt_algorithm", "HS256"),
        ({"page_token_secret": "short"}, "page_token_secret", "32 bytes"),
        ({"tls_key_file": "/a"}, "tls_certificate_file", "set both"),
        ({"tls_certificate_file": "/a"}, "tls_key_file", "set both"),
        ({"tls_client_ca_file": "/a"}, "tls_client_ca_file", "LIFTOS_TLS_CERTIFICATE_FILE"),
        ({"tls_certificate_file": "/a", "tls_key_file": "/b"}, "tls_key_file", "/b is no file"),
        ({"jwt_secret": SECRET, "processes": "2"}, "port", "share one port"),
        ({"jwt_secret": SECRET, "port": "65000"}, "metrics_port", "set it"),
        ({"jwt_secret": SECRET, "trace_sample_ratio": "nan"}, "trace_sample_ratio", "finite"),
        ({"jwt_secret": SECRET, "default_deadline_seconds": "0"}, "default_deadline_seconds", "0"),
    ],
)
def test_rules(values: dict[str, str], key: str, said: str) -> None:
    """Each rule names the key to change and what it should be."""
    assert said in _problems(**values)[key]


def test_secrets_never_show(tmp_path: Path) -> None:
    """Not in errors, not in repr, not in the description; the place of a store does show."""
    environment = {
        "LIFTOS_JWT_SECRET": "hunter2",
        "LIFTOS_POSTGRES_URL": "postgresql://liftos_app:hunter2@db-1,db-2:5432/liftos",
        "LIFTOS_PAGE_TOKEN_SECRET": "hunter2",
    }
    with pytest.raises(SettingsError) as caught:
        load(ServiceSettings, environment)
    assert "hunter2" not in str(caught.value)
    environment |= {"LIFTOS_JWT_SECRET": "hunter2" * 9, "LIFTOS_PAGE_TOKEN_SECRET": ""}
    settings = load(ServiceSettings, environment)
    described = settings.describe()
    assert "hunter2" not in f"{settings!r}{settings}{described}"
    assert described["LIFTOS_POSTGRES_URL"] == "postgresql://db-1,db-2:5432/liftos"
    assert described["LIFTOS_JWT_SECRET"] == "set"
    assert described["LIFTOS_REDIS_URL"] == "not set"


def test_a_service_adds_its_own() -> None:
    """Fields of a subclass are keys like any other."""

    class Settings(ServiceSettings):
        batch_rows: int = 500

    assert load(Settings, {**GOOD, "LIFTOS_BATCH_ROWS": "7"}).batch_rows == 7
    with pytest.raises(SettingsError, match="LIFTOS_BATCH_ROWS"):
        load(ServiceSettings, {**GOOD, "LIFTOS_BATCH_ROWS": "7"})


def test_page_token_keys() -> None:
    """The key follows its own secret, else that of the JWTs, and is neither of them."""
    derived = load(ServiceSettings, GOOD).page_token_key
    own = load(ServiceSettings, {**GOOD, "LIFTOS_PAGE_TOKEN_SECRET": "p" * 32}).page_token_key
    assert len({derived, own, SECRET.encode(), b"p" * 32}) == 4
    assert derived == load(ServiceSettings, GOOD).page_token_key
