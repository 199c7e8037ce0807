"""What Migration is told by its environment, and which variables an org may name."""

import pytest

from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.settings import SettingsError, load
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.settings import MigrationSettings

_GOOD = {
    "LIFTOS_JWT_SECRET": "s" * 32,
    "LIFTOS_POSTGRES_URL": "postgresql://core/liftos",
    "LIFTOS_SOURCE_ENVIRONMENT_PREFIXES": "acme:CAUSAL_",
}
_VARIABLES = {"CAUSAL_DATABASE_URL": "postgresql://module/causal", "LIFTOS_POSTGRES_URL": "core"}


def _references() -> SourceReferences:
    return load(MigrationSettings, _GOOD).source_references(_VARIABLES)


def test_an_org_names_what_it_was_granted() -> None:
    """The variable gives the address."""
    url = _references().url("acme", "CAUSAL_DATABASE_URL", path="source.database_reference")
    assert url == "postgresql://module/causal"


@pytest.mark.parametrize(
    ("org", "reference", "rule"),
    [
        ("other", "CAUSAL_DATABASE_URL", "source.granted"),
        ("acme", "LIFTOS_POSTGRES_URL", "source.granted"),
        ("acme", "CAUSAL_MISSING_URL", "source.set"),
    ],
)
def test_no_other_variable_is_read(org: str, reference: str, rule: str) -> None:
    """Neither those of other orgs nor the services' own; the error says what to do."""
    with pytest.raises(InvalidFieldsError) as raised:
        _references().url(org, reference, path="source.database_reference")
    (violation,) = raised.value.violations
    assert (violation.field, violation.rule) == ("source.database_reference", rule)
    assert reference in violation.description


def test_wrong_settings_are_all_named() -> None:
    """A grant of the services' own variables, a folder that is none, and no Postgres."""
    wrong = {
        "LIFTOS_JWT_SECRET": "s" * 32,
        "LIFTOS_SOURCE_ENVIRONMENT_PREFIXES": "acme:LIFTOS_",
        "LIFTOS_SNAPSHOT_DIRECTORY": "/nowhere/at/all",
    }
    with pytest.raises(SettingsError) as raised:
        load(MigrationSettings, wrong)
    assert set(raised.value.problems) == {
        "LIFTOS_POSTGRES_URL",
        "LIFTOS_SOURCE_ENVIRONMENT_PREFIXES",
        "LIFTOS_SNAPSHOT_DIRECTORY",
        "LIFTOS_SNAPSHOT_RESTORE_URL",
    }
