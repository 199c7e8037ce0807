"""YAML as a way to write JSON by hand: what is read, what is refused, and the way back."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.yaml_objects import YamlError, parse_yaml, yaml_text

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
    | st.sampled_from(["no", "NO", "on", "1", "1e5", "007", "2026-01-31", "~", "null", "12:30"]),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(_TEXTS, parts, max_size=4),
    max_leaves=12,
)


def test_values_are_those_of_json() -> None:
    """What other readers take for dates, truths or octal numbers is a text here, keys always."""
    read = parse_yaml(
        """
        day: 2026-01-31
        country: NO
        id: 007
        version: v1.10
        half: 0.5
        tiny: 1e-7
        whole: -12
        yes: true
        nothing:
        also: ~
        1: {no: [off, "1"]}
        time: 12:30:00
        plus: +5
        """
    )
    assert read.value == {
        "day": "2026-01-31",
        "country": "NO",
        "id": "007",
        "version": "v1.10",
        "half": 0.5,
        "tiny": 1e-7,
        "whole": -12,
        "yes": True,
        "nothing": None,
        "also": None,
        "1": {"no": ["off", "1"]},
        "time": "12:30:00",
        "plus": "+5",
    }
    assert parse_yaml("").value is None


def test_each_part_has_its_line() -> None:
    """By the path that errors use."""
    read = parse_yaml("a:\n  b:\n    - c: 1\n      d: 2\n    - e\nf: {g: 1}\n")
    assert read.lines == {
        "a": 1,
        "a.b": 2,
        "a.b[0]": 3,
        "a.b[0].c": 3,
        "a.b[0].d": 4,
        "a.b[1]": 5,
        "f": 6,
        "f.g": 6,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a stands twice; leave one of them away"),
        ("a: &x 1\nb: *x\n", "line 1: an alias is not read here; write out what it stands for"),
        ("a: &x [*x]\n", "line 1: an alias is not read here"),
        ("a: !!python/object:os.system {}\n", "line 1: the tag of python/object:os.system"),
        ("a: !!timestamp 2026-01-31\n", "line 1: the tag of timestamp is not read here"),
        ("a: !!set {b, c}\n", "line 1: the tag of set is not read here"),
        ("a: !!int x\n", "line 1: "),
        ("a: !own 1\n", "line 1: the tag of !own is not read here"),
        ("a: 9007199254740993\n", "line 1: 9007199254740993 has more digits than a number keeps"),
        (f"a: {'9' * 5000}\n", "is no number of JSON"),
        ("a: 1e999\n", "line 1: 1e999 is no number of JSON"),
        ("[a]: 1\n", "line 1: a key is a text"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("a: [1\nb: 2\n", "line 2: "),
        ("a: 'x\n", "line 2: "),
        ("a:\n\t- 1\n", "line 2: "),
        ("a: b: c\n", "line 1: "),
        ("a: \x07\n", "special characters are not allowed"),
        ("[" * 5000, "it is nested too deeply"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    """Each with its line, and nothing is lost or run on the way."""
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@given(_JSON)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    """Here, and by a reader of all of YAML."""
    text = yaml_text(value)
    assert parse_yaml(text).value == value
    assert json.dumps(yaml.safe_load(text)) == json.dumps(value)
