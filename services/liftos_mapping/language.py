"""The mapping language: an org's own mapping, as data, becomes what the engine evaluates.

    {
      "level": "OUTCOME",                                  one of the levels; else seen from the ids
      "date_basis": "EVENT",                               INTERACTION if left out
      "calculate": {"net": "total - coalesce(tax, 0)",     names for expressions
                    "day": "date(created, 'iso', 'Europe/Berlin')", "one": "1"},
      "aggregate": {"by": ["day", "country"],              raw rows that are one row
                    "sum": ["net", "one"]},
      "columns": {"date": "day",                           from a path or a calculation
                  "orders": "one",
                  "revenue_micros": {"from": "net", "unit": "cents"},
                  "currency_code": {"constant": "EUR"},
                  "channel": {"from": ["utm.medium", "medium"], "values": {"cpc": "paid_search"},
                              "otherwise": "other"}},
      "breakdowns": {"country": "country"},                name in the key: path or calculation
      "ignore": ["internal_note"]                          paths that are left out knowingly
    }

The order is: calculate, aggregate, then columns. A column has one of `from`, `calculate` and
`constant`, and may normalise it: `values` (with `otherwise`), then `unit`, or `format` and
`time_zone` of a date. Expressions are those of `liftos_mapping.expressions`. `MAPPING_SCHEMA` of
`liftos_mapping.language_schema` is the same as JSON Schema.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeAlias

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.time_zones import time_zone_problem
from liftos_mapping.conversions import ConversionError, conversion_of, show
from liftos_mapping.entry_fields import (
    DATE_BASES,
    ENTRY_FIELDS,
    LEVEL_IDS,
    LEVELS,
    EntryField,
    FieldKind,
)
from liftos_mapping.expression_functions import date_format_problem
from liftos_mapping.expressions import (
    Binary,
    Call,
    Expression,
    ExpressionError,
    Field,
    Literal,
    Lookup,
    Operator,
    fields_of,
    height_of,
    operands,
    parse_expression,
    substituted,
)
from liftos_mapping.mapping import (
    OBJECT_IDS,
    BreakdownRule,
    CalculationRule,
    ColumnRule,
    GroupingRule,
    LevelRule,
    PlatformMapping,
)

Document: TypeAlias = Mapping[str, object]

COLUMNS: Final[Mapping[str, EntryField]] = {
    it.name: it
    for it in ENTRY_FIELDS
    if it.name not in ("platform", "level", "date_basis", "breakdown_key", "actions", "final")
}
"""The columns that a mapping can give."""

MONEY_UNITS: Final = ("units", "cents", "micros")
"""Units of money and of conversions; the first one is meant where none is given."""

SHARE_UNITS: Final = ("fraction", "percent")
"""Units of shares; the first one is meant where none is given."""

MAXIMUM_PATH_LENGTH: Final = 200
MAXIMUM_CALCULATIONS: Final = 100
MAXIMUM_VALUES: Final = 1000
MAXIMUM_NAMES: Final = 50
"""Breakdowns, paths to ignore, paths of a column, and what an aggregate groups by or adds up."""

_MAXIMUM_HEIGHT: Final = 200
_MAXIMUM_STEPS: Final = 10
_HUNDREDTH: Final = Literal(Decimal("0.01"))
_SOURCES: Final = ("from", "calculate", "constant")
_LEVELS_BY_IDS: Final = (
    LevelRule("AD", "ad_id"),
    LevelRule("AD_GROUP", "ad_group_id"),
    LevelRule("MESSAGE", "message_id"),
    LevelRule("FLOW", "flow_id"),
    LevelRule("CONTROL", "series_id"),
    LevelRule("CAMPAIGN", "campaign_id"),
)
TOP_KEYS: Final = (
    "level",
    "date_basis",
    "calculate",
    "aggregate",
    "columns",
    "breakdowns",
    "ignore",
)


def is_money(column: str) -> bool:
    """Whether a column holds millionths, of a currency or of a count."""
    return column.endswith("_micros")


def is_share(column: str) -> bool:
    """Whether a column holds a share of a whole."""
    return column.endswith("_share")


def column_keys(column: str) -> tuple[str, ...]:
    """The keys that the rule of a column may have."""
    if column == "date":
        return (*_SOURCES, "format", "time_zone")
    unit = ("unit",) if is_money(column) or is_share(column) else ()
    return (*_SOURCES, "values", "otherwise", *unit)


def compile_mapping(platform: str, document: Document) -> PlatformMapping:
    """Return what the engine evaluates for a mapping.

    Args:
        platform: The platform of its entries.
        document: The mapping, as JSON.

    Raises:
        InvalidFieldsError: It is none; names every rule that it breaks, by path.
    """
    compiler = _Compiler()
    mapping = compiler.mapping(platform, document)
    if compiler.violations or mapping is None:
        raise InvalidFieldsError(compiler.violations)
    return mapping


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that could be read: what it is, or the paths that have it as it is."""

    conversion: str
    expression: Expression
    paths: tuple[str, ...] = ()


def _column(conversion: str, expression: Expression, paths: tuple[str, ...] = ()) -> _Column:
    # Numbers and days that are computed for a text are written out.
    computed = conversion == "text@1" and not paths
    return _Column(conversion, Call("text", (expression,)) if computed else expression, paths)


@dataclass(slots=True)
class _Compiler:
    """Reads one document and collects what is wrong with it."""

    violations: list[FieldViolation] = field(default_factory=list)
    calculations: dict[str, Expression] = field(default_factory=dict)
    grouping: GroupingRule | None = None

    def mapping(self, platform: str, document: Document) -> PlatformMapping | None:
        self._known_keys(document, "", TOP_KEYS)
        level = self._choice(document, "level", LEVELS)
        date_basis = self._choice(document, "date_basis", DATE_BASES) or "INTERACTION"
        self._read_calculations(self._object(document, "calculate"))
        self.grouping = self._aggregate(document)
        columns = self._columns(self._object(document, "columns", required=True))
        if level:
            self._check_level(level, columns)
            columns["level"] = _Column("text@1", Literal(level))
        breakdowns = self._breakdowns(self._object(document, "breakdowns"))
        ignored = self._names(document, "ignore", at="ignore")
        if not self.violations:
            self._refuse_nul(document, "")
        if self.violations:
            return None
        computed: list[CalculationRule] = []
        return PlatformMapping(
            platform=platform,
            version=1,
            columns=tuple(
                ColumnRule(name, _sources(it, name, name, computed), it.conversion)
                for name, it in columns.items()
            ),
            date_basis=date_basis,
            levels=_LEVELS_BY_IDS,
            breakdowns=BreakdownRule(
                fields=tuple(
                    (_sources(it, f"breakdown {name}", name, computed)[0], name)
                    for name, it in breakdowns.items()
                )
            ),
            redundant=frozenset(ignored),
            calculations=tuple(computed),
            grouping=self.grouping,
        )

    def _refuse(self, at: str, problem: str, rule: str) -> None:
        where = f"mapping.{at}" if at else "mapping"
        self.violations.append(FieldViolation(where, problem, f"mapping.{rule}"))

    def _known_keys(self, given: Document, at: str, known: Sequence[str]) -> None:
        for key in given:
            if key not in known:
                self._refuse(
                    _step(at, key), f"is not known; there are {', '.join(known)}", "unknown"
                )

    def _choice(self, document: Document, key: str, allowed: Sequence[str]) -> str:
        value = document.get(key)
        if value is None:
            return ""
        if isinstance(value, str) and value in allowed:
            return value
        self._refuse(key, f"must be one of {', '.join(allowed)}, not {show(value)}", "choice")
        return ""

    def _object(self, document: Document, key: str, *, required: bool = False) -> Document:
        value = document.get(key)
        if isinstance(value, Mapping) and (value or not required):
            return value
        if value is not None or required:
            self._refuse(key, "must be an object with at least one field", "object")
        return {}

    def _refuse_nul(self, value: object, at: str) -> None:
        """Refuses the one character of JSON that no store of mappings can hold."""
        if isinstance(value, str) and "\0" in value:
            self._refuse(at, "has a NUL character", "text")
        elif isinstance(value, Mapping):
            for key, it in value.items():
                step = _step(at, key)
                self._refuse_nul(key, step)
                self._refuse_nul(it, step)
        elif isinstance(value, list):
            for index, it in enumerate(value):
                self._refuse_nul(it, f"{at}[{index}]")

    # --- calculate ---

    def _read_calculations(self, given: Document) -> None:
        if len(given) > MAXIMUM_CALCULATIONS:
            self._refuse("calculate", f"has more than {MAXIMUM_CALCULATIONS}", "count")
            return
        parsed: dict[str, Expression] = {}
        for name, source in given.items():
            at = _step("calculate", name)
            if self._path(name, at) is not None:
                expression = self._expression(source, at)
                if expression is not None:
                    parsed[name] = expression
        while parsed:
            ready = {name: it for name, it in parsed.items() if not (fields_of(it) & parsed.keys())}
            if not ready:
                names = ", ".join(sorted(parsed))
                self._refuse("calculate", f"{names} need each other; break the circle", "circle")
                return
            for name, expression in ready.items():
                del parsed[name]
                self.calculations[name] = self._with_meanings(expression, _step("calculate", name))

    def _expression(self, source: object, at: str) -> Expression | None:
        if not isinstance(source, str):
            self._refuse(at, f"must be an expression as text, not {show(source)}", "expression")
            return None
        try:
            expression = parse_expression(source)
        except ExpressionError as error:
            self._refuse(at, str(error), "expression")
            return None
        for path in sorted(fields_of(expression)):
            if _path_problem(path):
                self._refuse(at, f"{show(path)} {_path_problem(path)}", "path")
                return None
        for pattern, zone in _dates(expression):
            problem = (pattern and date_format_problem(pattern)) or (
                zone and time_zone_problem(zone)
            )
            if problem:
                self._refuse(at, f"date: {problem}", "expression")
        return expression

    def _with_meanings(self, expression: Expression, at: str) -> Expression:
        found = substituted(expression, self.calculations)
        if height_of(found) <= _MAXIMUM_HEIGHT:
            return found
        self._refuse(at, f"is nested deeper than {_MAXIMUM_HEIGHT} with what it uses", "depth")
        return Literal(None)

    # --- aggregate ---

    def _aggregate(self, document: Document) -> GroupingRule | None:
        given = self._object(document, "aggregate")
        if not given:
            return None
        self._known_keys(given, "aggregate", ("by", "sum"))
        by = self._names(given, "by", at="aggregate.by")
        sums = self._names(given, "sum", at="aggregate.sum")
        if not by:
            self._refuse("aggregate.by", "must name what rows have in common", "required")
        twice = sorted({it for it in (*by, *sums) if (*by, *sums).count(it) > 1})
        if twice:
            self._refuse("aggregate", f"has {', '.join(twice)} twice", "twice")
        return GroupingRule(
            by=tuple((it, self.calculations.get(it, Field(it))) for it in by),
            sums=tuple((it, self.calculations.get(it, Field(it))) for it in sums),
        )

    def _meaning(self, path: str, at: str) -> Expression:
        """What a path means to a column: after an aggregate, a field of the grouped row."""
        if self.grouping is None:
            return self.calculations.get(path, Field(path))
        self._check_grouped((path,), at)
        return Field(path)

    def _check_grouped(self, paths: Iterable[str], at: str) -> None:
        if self.grouping is None:
            return
        names = [name for name, _ in (*self.grouping.by, *self.grouping.sums)]
        for path in paths:
            if path not in names:
                self._refuse(
                    at,
                    f"{show(path)} is gone after the aggregate; there are {', '.join(names)}",
                    "aggregated",
                )

    # --- columns ---

    def _columns(self, given: Document) -> dict[str, _Column]:
        found = {}
        for name, rule in given.items():
            at = _step("columns", name)
            if name not in COLUMNS:
                self._refuse(
                    at, f"is no column of an entry; there are {', '.join(COLUMNS)}", "column"
                )
                continue
            column = self._column(name, rule, at)
            if column is not None:
                found[name] = column
        return found

    def _column(self, name: str, rule: object, at: str) -> _Column | None:
        if isinstance(rule, str | list):
            rule = {"from": rule}
        if not isinstance(rule, Mapping):
            self._refuse(at, f"must be a path or an object, not {show(rule)}", "rule")
            return None
        self._known_keys(rule, at, column_keys(name))
        given = [key for key in _SOURCES if key in rule]
        if len(given) != 1:
            self._refuse(at, f"must have exactly one of {', '.join(_SOURCES)}", "source")
            return None
        conversion = _conversion(name, rule.get("unit"))
        match given[0]:
            case "constant":
                return self._constant(name, rule["constant"], at)
            case "calculate":
                parsed = self._expression(rule["calculate"], f"{at}.calculate")
                if parsed is None:
                    return None
                self._check_grouped(sorted(fields_of(parsed)), f"{at}.calculate")
                if self.grouping is None:
                    parsed = self._with_meanings(parsed, f"{at}.calculate")
                return _column(conversion, self._normalised(name, parsed, rule, at))
            case _:
                return self._from(name, rule, at, conversion)

    def _from(self, name: str, rule: Document, at: str, conversion: str) -> _Column | None:
        at_from = f"{at}.from"
        one = isinstance(rule["from"], str)
        paths = self._names({"from": [rule["from"]] if one else rule["from"]}, "from", at=at_from)
        if not paths:
            if not one:
                self._refuse(at_from, "must be a path, or paths of which the first counts", "path")
            return None
        if COLUMNS[name].kind is FieldKind.GRAIN and self.grouping is not None:
            added = [path for path, _ in self.grouping.sums if path in paths]
            if added:
                self._refuse(at_from, f"{name} holds for one row; it is never summed", "grain")
        meanings = [self._meaning(path, at_from) for path in paths]
        whole = meanings[0] if len(meanings) == 1 else Call("coalesce", tuple(meanings))
        expression = self._normalised(name, whole, rule, at)
        as_it_is = expression is whole and all(isinstance(it, Field) for it in meanings)
        return _column(conversion, expression, paths if as_it_is else ())

    def _constant(self, name: str, value: object, at: str) -> _Column | None:
        conversion = _conversion(name, None)
        literal = _literal(value)
        try:
            if literal is None:
                raise ValueError("must be a text or a number")
            conversion_of(conversion).scalar(literal.value)
        except ConversionError as error:
            self._refuse(f"{at}.constant", error.message, "constant")
            return None
        except ValueError as error:
            self._refuse(f"{at}.constant", str(error), "constant")
            return None
        return _Column(conversion, literal)

    def _normalised(self, name: str, expression: Expression, rule: Document, at: str) -> Expression:
        if name == "date":
            return self._dated(expression, rule, at)
        if "values" in rule:
            expression = self._looked_up(expression, rule, at)
        elif "otherwise" in rule:
            self._refuse(f"{at}.otherwise", "needs values", "values")
        unit = rule.get("unit")
        units = MONEY_UNITS if is_money(name) else SHARE_UNITS
        if unit is None or not (is_money(name) or is_share(name)):
            return expression
        if unit not in units:
            self._refuse(f"{at}.unit", f"must be one of {', '.join(units)}", "unit")
        if unit in ("cents", "percent"):
            return Binary(Operator.MULTIPLY, expression, _HUNDREDTH)
        return expression

    def _dated(self, expression: Expression, rule: Document, at: str) -> Expression:
        pattern, zone = rule.get("format"), rule.get("time_zone")
        if pattern is None and zone is None:
            return expression
        for key, value, problem_of in (
            ("format", pattern, date_format_problem),
            ("time_zone", zone, time_zone_problem),
        ):
            if value is not None:
                problem = problem_of(value) if isinstance(value, str) else "must be a text"
                if problem:
                    self._refuse(f"{at}.{key}", problem, key)
        given = (Literal(str(pattern or "iso")), *([Literal(str(zone))] if zone else []))
        return Call("date", (expression, *given))

    def _looked_up(self, expression: Expression, rule: Document, at: str) -> Expression:
        given = rule["values"]
        if not isinstance(given, Mapping) or not 0 < len(given) <= MAXIMUM_VALUES:
            self._refuse(f"{at}.values", f"must be an object of 1 to {MAXIMUM_VALUES}", "values")
            return expression
        table = {}
        for key, value in given.items():
            literal = Literal(None) if value is None else _literal(value)
            if literal is None:
                self._refuse(
                    _step(f"{at}.values", key), "must be a text, a number or null", "values"
                )
                continue
            table[key] = literal.value
        otherwise: Expression = expression
        if "otherwise" in rule:
            value = rule["otherwise"]
            literal = Literal(None) if value is None else _literal(value)
            if literal is None:
                self._refuse(f"{at}.otherwise", "must be a text, a number or null", "values")
            otherwise = literal or expression
        return Lookup(expression, table, otherwise)

    def _check_level(self, level: str, columns: Mapping[str, _Column]) -> None:
        required, allowed = LEVEL_IDS[level]
        for name in OBJECT_IDS:
            if name in required and name not in columns:
                self._refuse(_step("columns", name), f"is required at level {level}", "level")
            if name in columns and name not in (*required, *allowed):
                self._refuse(_step("columns", name), f"does not exist at level {level}", "level")

    # --- breakdowns, names ---

    def _breakdowns(self, given: Document) -> dict[str, _Column]:
        if len(given) > MAXIMUM_NAMES:
            self._refuse("breakdowns", f"has more than {MAXIMUM_NAMES}", "count")
            return {}
        found = {}
        for name, path in given.items():
            at = _step("breakdowns", name)
            if self._path(name, at) is None or self._path(path, at) is None:
                continue
            meaning = self._meaning(str(path), at)
            if isinstance(meaning, Field):
                found[name] = _Column("text@1", meaning, (meaning.path,))
            else:
                found[name] = _Column("text@1", Call("text", (meaning,)))
        return found

    def _names(self, given: Document, key: str, *, at: str) -> tuple[str, ...]:
        value = given.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or len(value) > MAXIMUM_NAMES:
            self._refuse(at, f"must be a list of at most {MAXIMUM_NAMES} paths", "list")
            return ()
        paths = [self._path(it, f"{at}[{index}]") for index, it in enumerate(value)]
        return tuple(path for path in paths if path is not None)

    def _path(self, value: object, at: str) -> str | None:
        problem = _path_problem(value)
        if problem:
            self._refuse(at, f"{show(value)} {problem}", "path")
            return None
        return str(value)


def _sources(
    column: _Column, name: str, shown: str, computed: list[CalculationRule]
) -> tuple[str, ...]:
    """The paths that have a column, or its calculation, which is added to those that there are."""
    if column.paths:
        return column.paths
    read = fields_of(column.expression)
    of_errors = next(iter(read)) if len(read) == 1 else shown
    computed.append(CalculationRule(f"={name}", column.expression, of_errors))
    return (f"={name}",)


_CONVERSIONS: Final[Mapping[str, str]] = {
    "date": "date@1",
    "currency_code": "currency@1",
    "frequency": "positive_real@1",
    "keyword_quality_score": "positive_real@1",
}


def _conversion(column: str, unit: object) -> str:
    if column in _CONVERSIONS:
        return _CONVERSIONS[column]
    if is_money(column):
        return "micros@1" if unit == "micros" else "decimal_to_micros@1"
    if is_share(column):
        return "fraction@1"
    if COLUMNS[column].kind not in (FieldKind.KEY, FieldKind.ATTRIBUTE):
        return "integer@1"
    return "text_id@1" if column.endswith("_id") else "text@1"


def _literal(value: object) -> Literal | None:
    """A constant of JSON; None where it is no text and no finite number."""
    if isinstance(value, str):
        return Literal(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Numbers of a Struct are floats, whose shortest text is what was meant.
    number = Decimal(repr(value)) if abs(value) < 1e30 else None
    return None if number is None or not number.is_finite() else Literal(number)


def _dates(expression: Expression) -> Iterator[tuple[str, str]]:
    """The format and the zone of each call of `date`, where they are written; else empty."""
    left = [expression]
    while left:
        part = left.pop()
        left.extend(operands(part))
        if isinstance(part, Call) and part.function == "date":
            written = (*part.arguments[1:], Literal(""), Literal(""))
            pattern, zone = (
                it.value if isinstance(it, Literal) and isinstance(it.value, str) else ""
                for it in written[:2]
            )
            yield pattern, zone


def _path_problem(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAXIMUM_PATH_LENGTH:
        return f"is no path of 1 to {MAXIMUM_PATH_LENGTH} characters"
    if not value.isprintable() or value.startswith("="):
        return "is no path: it has a control character or begins with ="
    if value.count(".") > _MAXIMUM_STEPS:
        return f"is no path of at most {_MAXIMUM_STEPS + 1} names with dots between them"
    return ""


def _step(at: str, key: object) -> str:
    """The path of a field, quoted where it is not a plain name."""
    name = str(key)
    plain = name.isidentifier() and name.isascii()
    step = name if plain else f"[{show(name)}]"
    return f"{at}.{step}" if at and plain else f"{at}{step}"
