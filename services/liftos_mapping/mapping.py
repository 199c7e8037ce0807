"""What a platform's mapping is made of: data, which one engine evaluates.

A mapping says, for each column of an entry, where a raw row has it and which named conversion
reads it. Source paths are dotted (`metrics.cost_micros`) and match a nested object as well as a
flat row whose keys have the dots in them.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from liftos_mapping.conversions import conversion_of
from liftos_mapping.entry_fields import DATE_BASES, ENTRY_SCHEMA, LEVELS, NATURAL_KEY
from liftos_mapping.errors import MappingError
from liftos_mapping.expressions import Expression, Literal, fields_of

OBJECT_IDS: Final = (
    "campaign_id",
    "ad_group_id",
    "ad_id",
    "flow_id",
    "message_id",
    "series_id",
)
"""The columns that name an object below its account."""


@dataclass(frozen=True, slots=True)
class UnsetWhere:
    """Leaves a column unset on rows whose other column has one of these values.

    A value of 0 is then taken for a platform's filler; any other value contradicts the rule and
    is a row error.
    """

    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """One column from the first of several source paths that a row has.

    Attributes:
        target: The entry's column.
        sources: Source paths, the best first.
        conversion: The name of a conversion of one value.
        date_bases: The date bases for which the rule holds; empty means all.
        unset_where: Rows on which the column stays unset, judged by an earlier rule's column.
    """

    target: str
    sources: tuple[str, ...]
    conversion: str
    date_bases: tuple[str, ...] = ()
    unset_where: UnsetWhere | None = None


@dataclass(frozen=True, slots=True)
class ShareRule:
    """A count that the source gives as a share of another count: share x whole, half to even."""

    target: str
    share: str
    whole: str
    date_bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionValueRule:
    """A count from a list of actions: the first action type that the list has."""

    target: str
    source: str
    action_types: tuple[str, ...]
    conversion: str


@dataclass(frozen=True, slots=True)
class ChosenActionRule:
    """Conversions and their value from two lists of actions, of one and the same action type.

    Platforms report one purchase under several action types; they overlap and are never summed.
    The type is the first of the priority that the list of counts has, or, if it has none of them,
    the first that the list of values has.
    """

    count_target: str
    value_target: str
    counts: str
    values: str
    action_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ActionListRule:
    """The `actions` column: every action with every window, as the platform gave them.

    Attributes:
        counts: The list that gives counts.
        values: The list that gives values.
        others: More lists of counts; their actions are named `<list>.<action type>`.
    """

    counts: str
    values: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakdownRule:
    """What splits an object's day into several rows, for the column `breakdown_key`.

    Attributes:
        fields: (source path, name in the key).
        groups: Objects whose fields all split rows, whatever they are called, except those that
            a column rule reads.
        exempt: More fields of these groups that do not split rows.
    """

    fields: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ()
    exempt: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SeriesRule:
    """A raw row that holds many days: each field of `values` is a list with a value per date.

    The dates are in the row under `dates`, or in the context of the call. Each day becomes a row
    of its own whose date is under `date`.
    """

    values: str
    dates: str
    date: str


@dataclass(frozen=True, slots=True)
class LevelRule:
    """The level of a row that has this id; the first rule that holds decides."""

    level: str
    present: str


@dataclass(frozen=True, slots=True)
class CalculationRule:
    """A source column that is computed.

    Attributes:
        name: What the other rules call it; it begins with `=`, unlike any source path.
        expression: What it is.
        field: What row errors of it name.
    """

    name: str
    expression: Expression
    field: str


@dataclass(frozen=True, slots=True)
class GroupingRule:
    """Raw rows that are one row by what they have in common, before anything else is evaluated.

    Attributes:
        by: What rows have in common: the name of a field of the grouped row, and what it is.
        sums: What is added up; unset where no row has it.
    """

    by: tuple[tuple[str, Expression], ...]
    sums: tuple[tuple[str, Expression], ...]


UNREADABLE_FIELD: Final = "unreadable rows"
"""The field of a grouped row that says which of its raw rows could not be read, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformMapping:
    """How the raw rows of one platform become entries.

    Attributes:
        platform: The entry's platform, or None where a column rule gives it.
        version: Grows with every change of meaning; part of the lineage.
        columns: Rules for one column each.
        date_basis: What a row's date stands for unless the context says otherwise.
        levels: How the level is seen; ACCOUNT if no rule holds.
        shares, action_values, chosen_action, action_list, breakdowns, series: Other rules.
        camel_case: Whether `costMicros` is another spelling of `cost_micros`.
        same_day: Two paths that must hold the same day, for sources that can give longer ranges.
        redundant: Fields that repeat what mapped fields say and are not listed as unmapped.
        calculations: Source columns that are computed.
        grouping: How raw rows are grouped; the other rules then read the grouped rows.
        reads_groups: Whether rows have been grouped already.
    """

    platform: str | None
    version: int
    columns: tuple[ColumnRule, ...]
    date_basis: str
    levels: tuple[LevelRule, ...]
    shares: tuple[ShareRule, ...] = ()
    action_values: tuple[ActionValueRule, ...] = ()
    chosen_action: ChosenActionRule | None = None
    action_list: ActionListRule | None = None
    breakdowns: BreakdownRule = field(default_factory=BreakdownRule)
    series: SeriesRule | None = None
    camel_case: bool = False
    same_day: tuple[str, str] | None = None
    redundant: frozenset[str] = frozenset()
    calculations: tuple[CalculationRule, ...] = ()
    grouping: GroupingRule | None = None
    reads_groups: bool = False

    def __post_init__(self) -> None:
        """Refuses what the engine could not evaluate, when the mapping is made."""
        for rule in self.columns:
            _check_column(rule.target)
            if conversion_of(rule.conversion).type != ENTRY_SCHEMA.field(rule.target).type:
                raise MappingError(f"{rule.conversion} does not give what {rule.target} holds")
            _check_bases(rule.date_bases)
        for share in self.shares:
            _check_column(share.target)
            _check_bases(share.date_bases)
        for action in self.action_values:
            _check_column(action.target)
            conversion_of(action.conversion)
        _check_bases((self.date_basis,))
        for level in self.levels:
            if level.level not in LEVELS or level.present not in OBJECT_IDS:
                raise MappingError(f"no level {level.level!r} by {level.present!r}")

    def in_force(self, date_basis: str) -> "PlatformMapping":
        """The same mapping with only the rules that hold for a date basis."""
        return replace(
            self,
            columns=tuple(r for r in self.columns if _holds_for(r.date_bases, date_basis)),
            shares=tuple(r for r in self.shares if _holds_for(r.date_bases, date_basis)),
        )

    @property
    def fixed_level(self) -> str:
        """The level that all entries have, whatever their rows say; empty where rows decide."""
        for rule in self.calculations:
            if rule.name == "=level" and isinstance(rule.expression, Literal):
                return str(rule.expression.value)
        return ""

    def grouped(self) -> "PlatformMapping":
        """The mapping of rows that have been grouped; itself where none are."""
        if self.grouping is None:
            return self
        return replace(self, grouping=None, reads_groups=True)

    def source_paths(self) -> frozenset[str]:
        """Every path that the mapping reads, groups left out."""
        paths = {path for rule in self.columns for path in rule.sources}
        paths.update(path for share in self.shares for path in (share.share, share.whole))
        paths.update(rule.source for rule in self.action_values)
        paths.update(path for path, _ in self.breakdowns.fields)
        if self.chosen_action is not None:
            paths.update((self.chosen_action.counts, self.chosen_action.values))
        if self.action_list is not None:
            paths.update((self.action_list.counts, self.action_list.values))
            paths.update(self.action_list.others)
        if self.same_day is not None:
            paths.update(self.same_day)
        for calculation in self.calculations:
            paths.update(fields_of(calculation.expression))
        if self.reads_groups:
            paths.add(UNREADABLE_FIELD)
        return frozenset(paths - {calculation.name for calculation in self.calculations})

    def path_of(self, column: str) -> str:
        """Where a raw row has a column, for messages; the column itself if no rule gives it."""
        return next((rule.sources[0] for rule in self.columns if rule.target == column), column)

    def field_of(self, path: str) -> str:
        """What row errors of a path name."""
        return next((rule.field for rule in self.calculations if rule.name == path), path)


def _holds_for(date_bases: tuple[str, ...], date_basis: str) -> bool:
    """Whether a rule with these date bases is in force."""
    return not date_bases or date_basis in date_bases


def _check_column(name: str) -> None:
    if name not in ENTRY_SCHEMA.names:
        raise MappingError(f"an entry has no column {name!r}; its key is {', '.join(NATURAL_KEY)}")


def _check_bases(date_bases: tuple[str, ...]) -> None:
    unknown = sorted(set(date_bases) - set(DATE_BASES))
    if unknown:
        raise MappingError(f"no date basis {unknown}; there are {', '.join(DATE_BASES)}")
