"""Settings and credentials against the schema of their source."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.domain.json_schemas import schema_violations

SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "access_token": {"type": "string", "minLength": 20},
        "app_secret": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "app_id": {"type": "string"},
        "limits": {
            "type": "array",
            "items": {"type": "object", "properties": {"rate": {"type": "integer", "minimum": 1}}},
        },
        "mode": {"enum": ["live", "test"]},
    },
    "required": ["access_token"],
    "dependentRequired": {"app_secret": ["app_id"]},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"access_token": "x" * 20}, []),
        ({}, [("f.access_token", "is required", "schema.required")]),
        (
            {"access_token": "x" * 20, "acess_token": "y", "app_secret": "ab" * 16},
            [
                (
                    "f.acess_token",
                    "is not known; there are access_token, app_id, app_secret, limits, mode",
                    "schema.additionalProperties",
                ),
                ("f.app_id", "is required with app_secret", "schema.dependentRequired"),
            ],
        ),
        (
            {"access_token": "x" * 20, "limits": [{"rate": 1}, {"rate": 0}, {"rate": "1"}]},
            [
                ("f.limits[1].rate", "is below 1", "schema.minimum"),
                ("f.limits[2].rate", "is not of the type integer", "schema.type"),
            ],
        ),
        (
            {"access_token": "x" * 19 + "\0", "limits": [{"rate": 1, "a\0b": ["\0"]}]},
            [
                ("f.access_token", "has a NUL character", "schema.text"),
                ("f.limits[0].ab", "has a NUL character", "schema.text"),
                ("f.limits[0].ab[0]", "has a NUL character", "schema.text"),
            ],
        ),
        (
            {"access_token": 7, "mode": "other"},
            [
                ("f.access_token", "is not of the type string", "schema.type"),
                ("f.mode", "is none of live, test", "schema.enum"),
            ],
        ),
    ],
)
def test_every_broken_rule_has_its_field(
    value: Mapping[str, object], expected: list[tuple[str, str, str]]
) -> None:
    """Each violation names the field as a request spells it, what is wrong and the rule."""
    violations = schema_violations(SCHEMA, value, field="f")
    assert [(it.field, it.description, it.rule) for it in violations] == expected


def test_alternatives_are_named() -> None:
    """Where there are several forms, the message lists them by title or by their fields."""
    schema = {
        "oneOf": [
            {"title": "a service account", "required": ["key_json"]},
            {"required": ["refresh_token", "client_id"]},
        ]
    }
    (violation,) = schema_violations(schema, {"other": "x"}, field="credential.stored.values")
    assert violation.description.endswith("a service account or (refresh_token and client_id)")


def test_a_schema_is_never_fetched() -> None:
    """A reference out of the schema is an error of the schema, not a call."""
    with pytest.raises(Exception, match="Unresolvable"):
        schema_violations({"$ref": "http://127.0.0.1:9/schema"}, {}, field="f")


@given(
    st.dictionaries(
        st.sampled_from(["access_token", "app_secret", "mode", "limits"]),
        st.text(alphabet="ZQXJV0123456789", min_size=9, max_size=19),
        min_size=1,
    )
)
def test_no_value_is_ever_told(value: dict[str, str]) -> None:
    """Whatever is wrong with a secret, no part of the message is the secret."""
    told = repr(schema_violations(SCHEMA, value, field="f"))
    assert not [secret for secret in value.values() if secret in told]
