"""What the sources of an org's own say of themselves in the same way."""

from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from liftos_ingestion.domain.json_schemas import schema_violations
from liftos_ingestion.source_ports import JsonObject, PlatformAccount
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_mapping.mapping import PlatformMapping

ACCOUNTS_SCHEMA: Final[JsonObject] = {
    "type": "array",
    "description": "Whose numbers they are.",
    "minItems": 1,
    "maxItems": 1000,
    "items": {
        "type": "object",
        "properties": {
            "account_id": {"type": "string", "minLength": 1, "maxLength": 256},
            "display_name": {"type": "string", "maxLength": 200},
            "time_zone": {"type": "string", "description": "IANA name; it bounds the days."},
            "currency_code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        },
        "required": ["account_id", "time_zone", "currency_code"],
        "additionalProperties": False,
    },
}

TIMES_SCHEMA: Final[Mapping[str, JsonObject]] = {
    "restatement_days": {
        "type": "integer",
        "minimum": 0,
        "maximum": 366,
        "description": "How many days back numbers still change.",
    },
    "days_per_read": {
        "type": "integer",
        "minimum": 1,
        "maximum": 366,
        "description": "How many days one reading takes.",
    },
}


def require(schema: JsonObject, definition: JsonObject) -> None:
    """Hold a definition to its schema.

    Raises:
        InvalidFieldsError: It breaks rules; names every one, by path.
    """
    found = schema_violations(schema, definition, field="definition")
    if found:
        raise InvalidFieldsError(found)


def accounts_of(definition: JsonObject) -> tuple[tuple[PlatformAccount, ...], list[FieldViolation]]:
    """Return the accounts of a definition that its schema takes, and what is wrong with them."""
    listed = definition["accounts"]
    assert isinstance(listed, Sequence), "by the schema"
    accounts: list[PlatformAccount] = []
    violations: list[FieldViolation] = []
    for index, it in enumerate(listed):
        zone = str(it["time_zone"])
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            violations.append(
                FieldViolation(
                    f"definition.accounts[{index}].time_zone",
                    f"{zone!r} is not the IANA name of a time zone, such as Europe/Berlin",
                    "time_zone",
                )
            )
        account_id = str(it["account_id"])
        if account_id in [account.account_id for account in accounts]:
            violations.append(
                FieldViolation(
                    f"definition.accounts[{index}].account_id", "is there twice", "twice"
                )
            )
        name = str(it.get("display_name") or account_id)
        accounts.append(PlatformAccount(account_id, name, zone, str(it["currency_code"])))
    return tuple(accounts), violations


def level_violations(
    mapping: PlatformMapping, field: str, levels: Sequence[str]
) -> list[FieldViolation]:
    """Return the items of a list whose level is not the one that the mapping gives."""
    fixed = mapping.fixed_level
    return [
        FieldViolation(
            f"definition.{field}[{index}].level",
            f"is {level}, and the mapping gives entries of level {fixed}",
            "level",
        )
        for index, level in enumerate(levels)
        if fixed and fixed != level
    ]


def whole_number(definition: JsonObject, key: str, default: int) -> int:
    """Return a number of days; numbers of a definition may come as floats."""
    value = definition.get(key)
    return default if value is None else int(float(str(value)))
