"""JSON objects against the JSON Schema (draft 2020-12) that a source gives for them.

What is said of a broken rule comes from the schema alone: the object may hold secrets.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from liftos_kit.core.errors import FieldViolation

_PHRASES: Final[Mapping[str, str]] = {
    "type": "is not of the type {rule}",
    "enum": "is none of {rule}",
    "const": "is not {rule}",
    "pattern": "does not match {rule}",
    "format": "is not written as {rule}",
    "minLength": "has fewer than {rule} characters",
    "maxLength": "has more than {rule} characters",
    "minimum": "is below {rule}",
    "maximum": "is above {rule}",
    "exclusiveMinimum": "is not above {rule}",
    "exclusiveMaximum": "is not below {rule}",
    "multipleOf": "is no multiple of {rule}",
    "minItems": "has fewer than {rule} items",
    "maxItems": "has more than {rule} items",
    "uniqueItems": "holds an item twice",
    "minProperties": "has fewer than {rule} fields",
    "maxProperties": "has more than {rule} fields",
}


def schema_violations(
    schema: Mapping[str, object], value: Mapping[str, object], *, field: str
) -> Sequence[FieldViolation]:
    """Return every rule of a schema that an object breaks, by path.

    Besides, no text of it may hold a NUL: of all that JSON has, Postgres takes that alone not.

    Args:
        schema: The schema; an empty one takes everything. References lead nowhere but into it.
        value: The object.
        field: Path of the object in its request, as `connection.settings`.
    """
    # An empty registry, so that no reference of a schema is ever fetched from the network.
    validator = Draft202012Validator(
        dict(schema), registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    found = {
        (violation.field, violation.rule, violation.description): violation
        for error in validator.iter_errors(dict(value))
        for violation in _violations(error, field)
    } | {(it.field, it.rule, it.description): it for it in _nul_violations(value, field)}
    return [found[key] for key in sorted(found)]


def _nul_violations(value: object, at: str) -> Iterator[FieldViolation]:
    match value:
        case str() if "\0" in value:
            yield FieldViolation(at.replace("\0", ""), "has a NUL character", "schema.text")
        case Mapping():
            for name, part in value.items():
                yield from _nul_violations(name, f"{at}.{name}")
                yield from _nul_violations(part, f"{at}.{name}")
        case list():
            for index, part in enumerate(value):
                yield from _nul_violations(part, f"{at}[{index}]")


def _violations(error: ValidationError, field: str) -> Iterator[FieldViolation]:
    keyword = str(error.validator)
    # Of whatever type the keyword has.
    rule_value: Any = error.validator_value
    instance: Any = error.instance
    at = field + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
    )
    rule = f"schema.{keyword}"
    match keyword:
        case "required":
            # One error for each missing field, all with the whole list.
            for name in _missing(rule_value, instance):
                yield FieldViolation(f"{at}.{name}", "is required", rule)
        case "dependentRequired":
            for given, needed in rule_value.items():
                for name in _missing(needed, instance) if given in instance else ():
                    yield FieldViolation(f"{at}.{name}", f"is required with {given}", rule)
        case "additionalProperties" | "unevaluatedProperties":
            assert isinstance(error.schema, Mapping), "a schema with this keyword is an object"
            known = sorted(error.schema.get("properties", {}))
            there = f"there {'are' if len(known) > 1 else 'is'} {', '.join(known) or 'none'}"
            for name in sorted(set(instance) - set(known)):
                yield FieldViolation(f"{at}.{name}", f"is not known; {there}", rule)
        case "anyOf" | "oneOf":
            forms = " or ".join(map(_form, rule_value))
            yield FieldViolation(at, f"has none of the forms, or several: {forms}", rule)
        case _:
            phrase = _PHRASES.get(keyword, "breaks the rule " + keyword)
            yield FieldViolation(at, phrase.format(rule=_shown(rule_value)), rule)


def _missing(names: Sequence[str], instance: Mapping[str, object]) -> Sequence[str]:
    return [name for name in names if name not in instance]


def _form(schema: Mapping[str, object]) -> str:
    if "title" in schema:
        return str(schema["title"])
    required = schema.get("required", ())
    assert isinstance(required, Sequence)
    return f"({' and '.join(map(str, required)) or 'another form'})"


def _shown(rule: object) -> str:
    return ", ".join(map(str, rule)) if isinstance(rule, list) else str(rule)
