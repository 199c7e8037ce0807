"""Secrets that commands read: every way in, and no way out."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from liftos_cli.errors import CommandError
from liftos_cli.secret_input import read_credential, read_secret_text, required_credential

_SECRET = "never-shown"


def _told(error: CommandError) -> str:
    return " ".join((error.message, error.advice, *error.details))


def test_variables_become_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the name in lower case; empty ones and other prefixes are left out."""
    monkeypatch.setenv("XMETA_ACCESS_TOKEN", _SECRET)
    monkeypatch.setenv("XMETA_APP_ID", "")
    monkeypatch.setenv("OTHER_ACCESS_TOKEN", "no")
    credential = read_credential(None, "XMETA_", None, None)
    assert credential is not None
    assert dict(credential.stored.values) == {"access_token": _SECRET}


@pytest.mark.parametrize(
    "content",
    [
        f'"{_SECRET}"',
        f'["{_SECRET}"]',
        f'{{"access_token": {{"x": "{_SECRET}"}}}}',
        f"access_token={_SECRET}",
        "{}",
        "",
    ],
)
def test_a_file_that_is_no_credential_is_refused_without_its_contents(
    tmp_path: Path, content: str
) -> None:
    """The error says how one is written, and repeats nothing of it."""
    file = tmp_path / "credential.json"
    file.write_text(content)
    with pytest.raises(CommandError) as raised:
        read_credential(file, None, None, None)
    assert _SECRET not in _told(raised.value)
    assert raised.value.advice


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=8))
def test_a_secret_in_place_of_a_file_is_never_repeated(text: str) -> None:
    """Whatever was typed, the error does not hold it."""
    assume(text not in _told(_of_no_file("x")))
    assert text not in _told(_of_no_file(text))


def _of_no_file(name: str) -> CommandError:
    with pytest.raises(CommandError) as raised:
        read_credential(Path(f"/nonexistent/{name}"), None, None, None)
    return raised.value


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """As an error of usage, without its bytes."""
    file = tmp_path / "credential.json"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="UTF-8"):
        read_credential(file, None, None, None)


def test_one_way_at_a_time() -> None:
    """Two ways are named; none is fine where a credential may be set later."""
    with pytest.raises(CommandError, match="--credential-env and --worker-env"):
        read_credential(None, "META_", "META_", None)
    assert read_credential(None, None, None, None) is None
    with pytest.raises(CommandError, match="no credential is given"):
        required_credential(None)


def test_a_text_loses_its_line_end(tmp_path: Path) -> None:
    """`echo` adds one to what it writes."""
    file = tmp_path / "url"
    file.write_text("slack://a/b\n")
    text = read_secret_text(file, None, file_option="--url-file", variable_option="--url-env")
    assert text == "slack://a/b"


def test_a_variable_that_is_not_set_is_named_unless_it_may_be_the_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has the shape of a name is shown, and nothing else."""
    monkeypatch.setenv("EMPTY_URL", " ")
    for variable in ("NOT_SET_ANYWHERE", "EMPTY_URL", f"slack://{_SECRET}"):
        with pytest.raises(CommandError) as raised:
            read_secret_text(None, variable, file_option="--url-file", variable_option="--url-env")
        assert (variable in raised.value.message) is (_SECRET not in variable)
        assert _SECRET not in _told(raised.value)
        assert raised.value.advice
