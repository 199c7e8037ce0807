"""GoogleAdsFieldService: what may be selected, as far as the simulator offers it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from liftos_platforms.google_ads.catalogue import (
    ATTRIBUTED_RESOURCES,
    DATE_SEGMENTS,
    Catalogue,
    Field,
    FieldCategory,
    FieldType,
)
from liftos_platforms.google_ads.gaql import Condition, GaqlError, Operator, parse_query
from liftos_platforms.google_ads.messages import FieldsResponse
from liftos_platforms.google_ads.metrics import METRICS
from liftos_platforms.google_ads.predicates import Predicate, Value, matches

_TYPES: Final[Mapping[str, FieldType]] = {
    "name": FieldType.STRING,
    "category": FieldType.ENUM,
    "data_type": FieldType.ENUM,
    "selectable": FieldType.BOOLEAN,
    "filterable": FieldType.BOOLEAN,
    "sortable": FieldType.BOOLEAN,
    "is_repeated": FieldType.BOOLEAN,
}
_LISTS: Final = frozenset({"enum_values", "selectable_with", "attribute_resources", "type_url"})
_OPERATORS: Final = frozenset(
    {Operator.EQUAL, Operator.NOT_EQUAL, Operator.IN, Operator.NOT_IN, Operator.LIKE}
)


def search_fields(text: str, catalogue: Catalogue) -> bytes:
    """Return the message that answers a query about fields.

    Raises:
        GaqlError: The query cannot be read or names what fields do not have.
    """
    query = parse_query(text, needs_resource=False)
    for name in query.select:
        if name not in _TYPES and name not in _LISTS:
            raise GaqlError("UNRECOGNIZED_FIELD", f"Fields have no '{name}'.", trigger=name)
    predicates = [_predicate(condition) for condition in query.where]
    response = FieldsResponse()
    for field in _all(catalogue):
        described = _described(field)
        if all(matches(p, described[p.field.name]) for p in predicates):
            _write(response.results.add(), field, described, query.select)
            if query.limit is not None and len(response.results) == query.limit:
                break
    response.total_results_count = len(response.results)
    return bytes(response.SerializeToString())


def _all(catalogue: Catalogue) -> Iterator[Field]:
    for resource in ATTRIBUTED_RESOURCES:
        found = catalogue.find(resource)
        if found is not None:
            yield found
        yield from catalogue.fields_of(resource)
    for name in (*(f"metrics.{metric}" for metric in METRICS), *DATE_SEGMENTS):
        found = catalogue.find(name)
        if found is not None:
            yield found


def _described(field: Field) -> dict[str, Value]:
    is_resource = field.category is FieldCategory.RESOURCE
    return {
        "name": field.name,
        "category": field.category.name,
        "data_type": field.type.name,
        "selectable": not is_resource,
        "filterable": not is_resource,
        "sortable": not is_resource and not field.is_repeated,
        "is_repeated": field.is_repeated,
    }


def _predicate(condition: Condition) -> Predicate:
    kind = _TYPES.get(condition.field)
    if kind is None:
        raise GaqlError(
            "UNRECOGNIZED_FIELD",
            f"Fields cannot be found by '{condition.field}'.",
            trigger=condition.field,
        )
    if condition.operator not in _OPERATORS:
        raise GaqlError(
            "OPERATOR_FIELD_MISMATCH",
            f"The operator {condition.operator.value} does not go with '{condition.field}'.",
            trigger=condition.field,
        )
    texts = (value.text for value in condition.values)
    values: tuple[Value, ...]
    if kind is FieldType.BOOLEAN:
        values = tuple(text.upper() == "TRUE" for text in texts)
    else:
        values = tuple(texts)
    field = Field(
        name=condition.field,
        resource="",
        category=FieldCategory.ATTRIBUTE,
        type=kind,
        is_repeated=False,
        path=(condition.field,),
        enum_numbers={},
    )
    return Predicate(field, condition.operator, values)


def _write(
    message: Any,  # noqa: ANN401 - a message class that is made at run time
    field: Field,
    described: Mapping[str, Value],
    selected: tuple[str, ...],
) -> None:
    message.resource_name = f"googleAdsFields/{field.name}"
    for name in selected:
        if name == "enum_values":
            message.enum_values.extend(field.enum_numbers)
        elif name == "category":
            message.category = field.category.value
        elif name == "data_type":
            message.data_type = field.type.value
        elif name in described:
            setattr(message, name, described[name])
