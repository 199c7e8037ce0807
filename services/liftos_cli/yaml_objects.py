"""YAML as a way to write JSON by hand: the same values and nothing more, with the line of each.

What looks like a date, `no` or `007` is a text here, as a key is whatever it looks like. A key that
stands twice, an anchor and a tag are errors: they would lose or hide what somebody wrote.
"""

import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

_PREFIX: Final = "tag:yaml.org,2002:"
_INTEGER: Final = r"-?(?:0|[1-9][0-9]*)"
_PLAIN: Final = (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", _INTEGER, "-0123456789"),
    ("float", rf"{_INTEGER}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", "-0123456789"),
)
"""Kind, what it looks like without quotes, and how it begins."""

_TAGGED: Final = "the tag of {} is not read here; leave it away"
_LINE_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
"""Breaks of YAML lines that become others, or none, where they are not escaped."""


def json_number(text: str) -> int | float:
    """Return the number of a JSON text, which is a double wherever it goes.

    Raises:
        ValueError: A double cannot be it.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    if text.lstrip("-").isdigit():
        if abs(int(text)) > 2**53:
            raise ValueError(f"{text} has more digits than a number keeps; write it in quotes")
        return int(text)
    return number


class YamlError(ValueError):
    """A text that is not what is read here; the message begins with the line."""


@dataclass(frozen=True, slots=True)
class YamlValue:
    """What a text holds.

    Attributes:
        value: As of JSON.
        lines: Line of each part, from 1, by its path: `reads[0].path`.
    """

    value: Any
    lines: Mapping[str, int]


def parse_yaml(text: str) -> YamlValue:
    """Read one YAML document.

    Raises:
        YamlError: It is none, or has what JSON has not.
    """
    try:
        # It makes nodes of a text, and no objects whatever its tags say.
        root = yaml.compose(text, Loader=_Loader)
        reading = _Reading()
        return YamlValue(None if root is None else reading.value(root, ""), reading.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{line}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise YamlError(str(error).replace("\n", " ")) from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None


def yaml_text(value: object) -> str:
    """Write a value of JSON so that it is read as it was, here and by other readers of YAML."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
    return text


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  # as the base
        """Write out what stands in two places."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if _LINE_BREAKS.search(text) else None
    return dumper.represent_scalar(f"{_PREFIX}str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _kind, _look, _first in _PLAIN:
    _pattern = re.compile(rf"(?:{_look})\Z")
    _characters = [*_first, ""] if _kind == "null" else list(_first)
    _Loader.add_implicit_resolver(f"{_PREFIX}{_kind}", _pattern, _characters)
    _Dumper.add_implicit_resolver(f"{_PREFIX}{_kind}", _pattern, _characters)


@dataclass(slots=True)
class _Reading:
    """Values of nodes, and where they stood."""

    lines: dict[str, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, path: str) -> Any:  # noqa: ANN401  # of JSON
        """Return the value of a node.

        Raises:
            YamlError: JSON has no such value.
        """
        if id(node) in self._seen:
            raise _error(node, "an alias is not read here; write out what it stands for")
        self._seen.add(id(node))
        match node.tag.removeprefix(_PREFIX):
            case "map":
                return self._object(node, path)
            case "seq":
                return [self._item(it, f"{path}[{index}]") for index, it in enumerate(node.value)]
            case kind if isinstance(node, yaml.ScalarNode):
                return _scalar(node, kind)
            case kind:
                raise _error(node, _TAGGED.format(kind))

    def _item(self, node: yaml.Node, path: str) -> Any:  # noqa: ANN401  # of JSON
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _object(self, node: yaml.Node, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error(key_node, "a key is a text, and no list or object")
            key = key_node.value
            if key in found:
                raise _error(key_node, f"{key} stands twice; leave one of them away")
            at = f"{path}.{key}" if path else key
            self.lines[at] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, at)
        return found


def _scalar(node: yaml.ScalarNode, kind: str) -> Hashable:
    """Return the text, number, truth or null of a node without parts."""
    text: str = node.value
    match kind:
        case "str":
            return text
        case "bool":
            return text == "true"
        case "null":
            return None
        case "int" | "float":
            try:
                return json_number(text)
            except ValueError as error:
                raise _error(node, str(error)) from None
        case _:
            raise _error(node, _TAGGED.format(kind))


def _error(node: yaml.Node, problem: str) -> YamlError:
    return YamlError(f"line {node.start_mark.line + 1}: {problem}")
