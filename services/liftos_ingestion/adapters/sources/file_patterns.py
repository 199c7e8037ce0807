"""Patterns that say which files are a source's, and which account and day a file is of."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

_PART: Final = re.compile(r"\*\*/|\*\*|\*|\?|\{[^{}]*\}|[^*?{}]+|[{}]")
_DATE: Final = re.compile(r"\{date(?::(?P<format>(?:%[Ymd]|[-_./0-9])+))?\}", re.ASCII)
_DIGITS: Final = {"%Y": r"[0-9]{4}", "%m": r"[0-9]{2}", "%d": r"[0-9]{2}"}
_ISO: Final = "%Y-%m-%d"
_MAXIMUM_WILDCARDS: Final = 6


class PatternError(ValueError):
    """A pattern that cannot be used; says what would be right."""


@dataclass(frozen=True, slots=True)
class MatchedFile:
    """What the path of a file says: its account and its day, None where it says nothing."""

    account_id: str | None
    day: date | None


@dataclass(frozen=True, slots=True)
class FilePattern:
    """A pattern of paths with `/` between folders.

    `*` and `?` stay within a folder, `**/` is any number of folders, `{account}` is an account's
    id, `{date}` a day as 2026-11-01, and `{date:%Y/%m/%d}` a day that is written otherwise.

    Attributes:
        source: As it was written.
        folder: Below which all files lie; empty for the top.
        has_account, has_date: What paths say.
    """

    source: str
    folder: str
    has_account: bool
    has_date: bool
    _expression: re.Pattern[str]
    _date_format: str

    def match(self, path: str) -> MatchedFile | None:
        """Return what a path says; None where the pattern does not match, or its day is none."""
        found = self._expression.fullmatch(path)
        if found is None:
            return None
        day = None
        if self.has_date:
            try:
                day = datetime.strptime(found["date"], self._date_format).date()  # noqa: DTZ007
            except ValueError:
                return None
        return MatchedFile(found["account"] if self.has_account else None, day)


def parse_pattern(source: str) -> FilePattern:
    """Read a pattern.

    Raises:
        PatternError: It cannot be used.
    """
    names = source.split("/")
    if source.startswith("/") or "\\" in source or not source.isprintable():
        raise PatternError("is a path below the source's place, with / between folders")
    if any(name in ("", ".", "..") for name in names):
        raise PatternError("has no empty names, no . and no .. between its folders")
    if sum(source.count(wild) for wild in "*?") > _MAXIMUM_WILDCARDS:
        raise PatternError(f"has more than {_MAXIMUM_WILDCARDS} of * and ?")
    expression, date_format, seen = "", _ISO, set()
    for part in _PART.findall(source):
        if not part.startswith("{") or part == "{":
            expression += _plain(part)
            continue
        dated = _DATE.fullmatch(part)
        name = "account" if part == "{account}" else "date" if dated else ""
        if not name or name in seen:
            raise PatternError(
                f"has {part}; there are {{account}}, {{date}} and {{date:%Y%m%d}}, each once"
            )
        seen.add(name)
        if dated is None:
            expression += r"(?P<account>[^/]+)"
            continue
        date_format = dated["format"] or _ISO
        if sorted(re.findall("%.", date_format)) != ["%Y", "%d", "%m"]:
            raise PatternError(f"has {part}; a day has %Y, %m and %d, each once")
        expression += f"(?P<date>{_date_expression(date_format)})"
    fixed = re.split(r"[*?{]", source)[0]
    folder = fixed.rpartition("/")[0]
    return FilePattern(
        source, folder, "account" in seen, "date" in seen, re.compile(expression), date_format
    )


def _plain(part: str) -> str:
    wild = {"**/": r"(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return wild.get(part) or re.escape(part)


def _date_expression(date_format: str) -> str:
    parts = re.findall(r"%.|[^%]+", date_format)
    return "".join(_DIGITS.get(part) or re.escape(part) for part in parts)
