"""A first mapping, proposed from names, types and some rows; what is not clear becomes a question.

A draft is for a person to go over: each guess beyond names and types is told as a question with
what it could be, most likely first, and what is likely derived from others is left undecided.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from liftos_migration.domain.drafted_entries import EntryColumns, entry_columns
from liftos_migration.domain.inventory import Column, Inventory, Item, ItemKind
from liftos_migration.domain.mapping import (
    FILTERED,
    KeyMapping,
    Rounding,
    Rows,
    Rule,
    TableMapping,
    Target,
    Waiver,
)
from liftos_migration.domain.mapping import KeyClass as Class
from liftos_migration.domain.mapping import Mapping as Plan
from liftos_migration.domain.sql_text import literal, name_parts, quoted

Samples: TypeAlias = Sequence[Mapping[str, Any]]

_ORG: Final = re.compile(r"(org|organi[sz]ation|tenant|workspace)(_?id)?")
_DERIVED: Final = re.compile(
    r".*(_daily|_weekly|_monthly|_summary|_rollup|_agg|_cache|_stats)|"
    r"(schema_versions?|schema_migrations|alembic_version|data_versions)"
)
_TEXT_NAMES: Final = ("body", "text", "content", "note", "message", "comment", "description")
_LONG_TEXT: Final = 40
_KINDS: Final = (
    ("MODEL", re.compile(r".*models?")),
    (
        "RESULT",
        re.compile(r".*(results?|experiments?|measurements?|optimi[sz]ations?|predictions?)"),
    ),
    ("CONFIGURATION", re.compile(r".*(settings?|configs?|configurations?)")),
)
_TITLES: Final = ("display_name", "name", "title", "subject", "label")
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,80}")
_PLAIN_TYPES: Final = (
    "smallint", "integer", "bigint", "text", "character varying", "character", "uuid", "date",
)  # fmt: skip
"""Types whose texts can be ids; of texts themselves some rows are looked at."""
_LONG_NUMBERS: Final = ("bigint", "numeric")
_LATER: Final = ("fetched_at", "updated_at", "modified_at", "computed_at", "created_at")
_RATES: Final = ("rate", "fx", "usd", "eur", "in_dollars", "exchange_rate")


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a person has to decide; choices are most likely first."""

    object: str
    question: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed mapping and what is not clear about it."""

    mapping: Plan
    questions: tuple[Question, ...]


def draft(inventory: Inventory, samples: Mapping[str, Samples], module: str) -> Draft:
    """Propose what becomes of every part of a source.

    Args:
        inventory: Of the source.
        samples: Some rows of each table, by its name; values as of JSON.
        module: The module that moves; scopes begin with it.
    """
    drafts = [_Table(item, samples.get(item.object, ()), module) for item in inventory.tables()]
    for each in drafts:
        each.draft()
    questions = [question for each in drafts for question in each.questions]
    keys = []
    for item in inventory.items:
        if item.kind is ItemKind.REDIS_KEYS:
            keys.append(KeyMapping(item.object, Class.UNDECIDED))
            questions.append(
                Question(
                    item.object,
                    "what are these keys for?",
                    ("DERIVED_CACHE: they can be computed again", "STATE", "CONFIGURATION"),
                )
            )
        elif item.kind is ItemKind.VIEW:
            questions.append(
                Question(
                    item.object,
                    "a view holds no rows of its own; may it stay behind?",
                    (f"waive it: computed from {', '.join(item.depends_on) or 'tables'}",),
                )
            )
    return Draft(
        Plan(
            tables=tuple(each.mapping for each in drafts),
            keys=tuple(keys),
            waivers=tuple(waiver for each in drafts for waiver in each.waivers),
            version="draft",
        ),
        tuple(questions),
    )


@dataclass(slots=True)
class _Table:
    """One table on its way to a mapping."""

    item: Item
    samples: Samples
    module: str
    mapping: TableMapping = field(init=False)
    questions: list[Question] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)

    def draft(self) -> None:
        """Choose the first kind of record that the table looks like."""
        attempts: tuple[Callable[[], TableMapping | None], ...] = (
            self._derived,
            self._rates,
            self._entries,
            self._notes,
            self._artifacts,
        )
        found = next((drafted for each in attempts if (drafted := each())), None)
        self.mapping = found or TableMapping(
            self.item.object, Target.TABLE_ARTIFACT, scope=self._scope
        )
        if found is None:
            self._ask(
                "no column tells its rows apart; it moves as one table",
                "TABLE_ARTIFACT",
                "ARTIFACTS, with key_columns",
                "waive it",
            )

    @property
    def _name(self) -> str:
        return name_parts(self.item.object)[-1]

    @property
    def _scope(self) -> str:
        name = re.sub(r"[^a-z0-9_.-]", "_", f"{self.module}.{self._name}".lower())
        return name[:63]

    @property
    def _columns(self) -> Mapping[str, Column]:
        return {column.name: column for column in self.item.columns}

    @property
    def _org_column(self) -> str | None:
        return next((name for name in self._columns if _ORG.fullmatch(name.lower())), None)

    @property
    def _keys(self) -> tuple[str, ...]:
        """The primary key without the organisation, which is the same for all records."""
        return tuple(key for key in self.item.key_columns if key != self._org_column)

    def _ask(self, question: str, *choices: str) -> None:
        self.questions.append(Question(self.item.object, question, choices))

    def _of_org(self) -> str:
        """Return the filter of rows of the organisation, which is asked about."""
        org = self._org_column
        if org is not None:
            self._ask(
                f"does {org} hold the id of the organisation, as {self._example(org)}?",
                f"row_filter: {quoted(org)}::text = :org",
                "no row_filter: all rows are of this organisation",
            )
            self.waivers.append(
                Waiver(self.item.object + FILTERED, "Rows of other organisations move with theirs.")
            )
            return f"{quoted(org)}::text = :org"
        return ""

    def _example(self, column: str) -> str:
        values = [repr(row[column]) for row in self.samples if row.get(column) is not None]
        return values[0][:40] if values else "no row tells"

    def _derived(self) -> TableMapping | None:
        if not _DERIVED.fullmatch(self._name):
            return None
        self._ask(
            "its name says that it is computed from other tables, or tells of the database alone;"
            " may it stay behind?",
            f"waive it: {{object: {self.item.object}, reason: ...}}",
            "set its target: it holds what nothing else does",
        )
        rest = self._entries() or TableMapping(self.item.object, Target.TABLE_ARTIFACT)
        return replace(rest, target=Target.UNDECIDED)

    def _rates(self) -> TableMapping | None:
        columns = self._columns
        days = [name for name, column in columns.items() if column.type == "date"]
        currencies = [name for name in columns if "currency" in name.lower()]
        rates = [name for name in columns if name.lower() in _RATES]
        if not (len(days) == len(currencies) == len(rates) == 1 and len(columns) <= 5):
            return None
        self._ask(
            f"is {rates[0]} what one unit of {currencies[0]} is in the base currency?",
            "yes",
            f"no, the other way round: 1 / {quoted(rates[0])}",
        )
        return TableMapping(
            self.item.object,
            Target.EXCHANGE_RATES,
            (
                Rule("currency_code", quoted(currencies[0])),
                Rule("date", quoted(days[0])),
                Rule("rate", quoted(rates[0]), Rounding.HALF_EVEN),
            ),
            key_columns=(days[0], currencies[0]),
            row_filter=self._of_org(),
        )

    def _entries(self) -> TableMapping | None:
        found = entry_columns(self._name, self.item.columns, self.samples)
        if found is None:
            return None
        for question, choices in found.questions:
            self._ask(question, *choices)
        for column in self._columns:
            if column not in found.read and column != self._org_column:
                self._ask(
                    f"{column} is none of an entry's numbers and names; what becomes of it?",
                    f"waive {self.item.object}.{column}",
                    "a rule that reads it",
                )
        keys, rows, order = self._record_keys(found)
        return TableMapping(
            self.item.object,
            Target.ENTRIES,
            found.rules,
            key_columns=keys,
            row_filter=self._of_org(),
            rows=rows,
            order_by=order,
        )

    def _record_keys(self, found: EntryColumns) -> tuple[tuple[str, ...], Rows, str]:
        """Return what identifies an entry, and which row of it counts."""
        keys = found.key_columns
        if set(self._keys) == set(keys):
            return keys, Rows.ONE, ""
        later = [name for name in _LATER if name in self._columns]
        order = [f"{quoted(name)} desc" for name in [*later[:1], *self.item.key_columns]]
        self._ask(
            f"may several rows have the same {', '.join(keys)}? The newest counts",
            f"NEWEST, by {', '.join(order) or 'the columns that tell which is newest'}",
            "GROUPED: their numbers are added up",
            "ONE: there are none",
        )
        return keys, Rows.NEWEST, ", ".join(order) or quoted(keys[0])

    def _notes(self) -> TableMapping | None:
        text = next((name for name in _TEXT_NAMES if self._is_long_text(name)), None)
        if text is None or not self._keys:
            return None
        title = self._title()
        self._ask(f"is {text} what people would search for?", "NOTES", "ARTIFACTS")
        rest = [name for name in self._columns if name not in (text, self._org_column)]
        return TableMapping(
            self.item.object,
            Target.NOTES,
            (
                Rule("id", self._id()),
                *([Rule("title", f"left({quoted(title)}::text, 200)")] if title else []),
                Rule("text", quoted(text)),
                *self._members("attributes", rest),
            ),
            key_columns=self._keys,
            row_filter=self._of_org(),
            scope=self._scope,
        )

    def _is_long_text(self, name: str) -> bool:
        column = self._columns.get(name)
        if column is None or not column.type.startswith(("text", "character varying")):
            return False
        lengths = [len(str(row.get(name) or "")) for row in self.samples]
        return bool(lengths) and max(lengths) >= _LONG_TEXT

    def _artifacts(self) -> TableMapping | None:
        if not self.item.key_columns:
            return None
        kind = next(
            (word for word, names in _KINDS if names.fullmatch(self._name)), "MODULE_MEMORY"
        )
        title = self._title()
        binary = [name for name, column in self._columns.items() if column.type == "bytea"]
        rest = [
            name for name in self._columns if name != self._org_column and name not in binary[:1]
        ]
        if binary:
            self._ask(
                f"{binary[0]} becomes the content; of which type is it?",
                "content_type: application/octet-stream",
            )
        return TableMapping(
            self.item.object,
            Target.ARTIFACTS,
            (
                Rule("id", self._id()),
                Rule("kind", literal(kind)),
                *([Rule("display_name", f"left({quoted(title)}::text, 200)")] if title else []),
                *self._members("body", rest),
                *(Rule("content", quoted(name)) for name in binary[:1]),
            ),
            key_columns=self._keys or self.item.key_columns,
            row_filter=self._of_org(),
            scope=self._scope,
        )

    def _title(self) -> str | None:
        return next((name for name in _TITLES if name in self._columns), None)

    def _id(self) -> str:
        prefix = literal(f"{self._scope}.")
        if not self._keys:
            # One row for each organisation.
            org = quoted(self.item.key_columns[0])
            return f"case when {org}::text = :org then {literal(self._scope)} end"
        for key in self._keys:
            type_ = self._columns[key].type.partition("(")[0]
            strange = (
                [self._example(key)]
                if type_ not in _PLAIN_TYPES
                else [
                    str(row[key])
                    for row in self.samples
                    if row.get(key) is not None and not _PLAIN_ID.fullmatch(str(row[key]))
                ]
            )
            if strange:
                self._ask(
                    f"{key} holds {strange[0][:40]!r}, and ids have letters, digits and ._:- alone;"
                    " how is it written?",
                    f"md5({quoted(key)})",
                    f"replace({quoted(key)}, ' ', '-')",
                )
                joined = " || ' ' || ".join(f"{quoted(each)}::text" for each in self._keys)
                return f"{prefix} || md5({joined})"
        return " || '-' || ".join(
            [f"{prefix} || {quoted(self._keys[0])}", *map(quoted, self._keys[1:])]
        )

    def _members(self, whole: str, names: Sequence[str]) -> Iterator[Rule]:
        for name in names:
            type_ = self._columns[name].type
            # JSON has doubles alone: what may have more digits is kept as text.
            long = type_.startswith(_LONG_NUMBERS) and not type_.endswith("[]")
            member = name.replace(".", "_")
            yield Rule(f"{whole}.{member}", f"{quoted(name)}::text" if long else quoted(name))
