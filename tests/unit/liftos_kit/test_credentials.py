"""A credential is found where it is kept, by those who may have it."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.secrets.credentials import (
    CredentialSource,
    CredentialUnreadableError,
    EnvironmentCredential,
    FileCredential,
    GrantsInvalidError,
    SecretPlaces,
    StoredCredential,
    parse_granted_prefixes,
    resolve,
)
from liftos_kit.secrets.keyring import Keyring, KeyringMissingError
from liftos_kit.secrets.secret import Secret

OWNER = "orgs/acme/connections/meta-1"
VALUE = "EAAB-correct-horse-battery"


def _found(source: CredentialSource, places: SecretPlaces) -> dict[str, str]:
    fields = resolve(source, resource_name=OWNER, places=places)
    return {name: secret.reveal() for name, secret in fields.items()}


def _problem(source: CredentialSource, places: SecretPlaces) -> str:
    with pytest.raises(CredentialUnreadableError) as caught:
        resolve(source, resource_name=OWNER, places=places)
    assert VALUE not in f"{caught.value!r}{caught.value}{caught.value.__context__!r}"
    return str(caught.value)


def _environment(values: Mapping[str, str], grants: str = "acme:META_") -> SecretPlaces:
    return SecretPlaces(environment=values, granted_prefixes=parse_granted_prefixes(grants))


def _file(directory: Path, content: bytes, name: str = "meta.json") -> SecretPlaces:
    (directory / "acme").mkdir(exist_ok=True)
    (directory / "acme" / name).write_bytes(content)
    return SecretPlaces(directory=directory)


META = EnvironmentCredential("META_")
FILE = FileCredential("acme/meta.json")


def test_stored_credentials() -> None:
    """They open with the keys of the process; without keys the error names the settings."""
    ring = Keyring({"k1": bytes(32)})
    source = StoredCredential(ring.seal({"token": Secret(VALUE)}, resource_name=OWNER))
    assert _found(source, SecretPlaces(keyring=ring)) == {"token": VALUE}
    with pytest.raises(KeyringMissingError, match="LIFTOS_SECRET_KEYS"):
        resolve(source, resource_name=OWNER, places=SecretPlaces())


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True), st.text(min_size=1), max_size=9
    )
)
def test_only_variables_with_the_prefix_become_fields(variables: dict[str, str]) -> None:
    """Their names without it, in lower case; all others stay unseen."""
    environment = {f"META_{name}": value for name, value in variables.items()}
    others = {f"MET_{name}": value for name, value in variables.items()} | {"META_EMPTY_X": ""}
    places = _environment(environment | others)
    if variables:
        assert _found(META, places) == {name.lower(): value for name, value in variables.items()}
    else:
        assert "it has no fields" in _problem(META, places)


def test_places_show_no_variables() -> None:
    """The variables of a process hold other secrets as well."""
    assert VALUE not in repr(_environment({"META_TOKEN": VALUE, "OTHER": VALUE}))


@pytest.mark.parametrize("grants", ["", "other:META_", "acme:META", "acme:META_X_"])
def test_a_prefix_has_to_be_granted(grants: str) -> None:
    """To this very org; the error tells the operator what to add."""
    problem = _problem(META, _environment({"META_TOKEN": VALUE}, grants))
    assert "add acme:META_ to LIFTOS_SECRET_ENVIRONMENT_PREFIXES" in problem


@pytest.mark.parametrize(
    "grants",
    ["acme", "acme:", "acme:meta_", ":META_", "Acme:META_", "acme:LIFTOS_", "acme:LIFT", "a:L"],
)
def test_wrong_grants(grants: str) -> None:
    """A grant has a form, and none gives away the settings of the services."""
    with pytest.raises(GrantsInvalidError):
        parse_granted_prefixes(f"acme:KLAVIYO_, {grants}")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"META_": VALUE}, "'' is no name"),
        ({"META_9": VALUE}, "'9' is no name"),
        ({"META_A": VALUE, "META_a": VALUE}, "'a' comes twice"),
        ({"META_A": "x" * 16_385}, "has 16385 characters"),
        ({"META_A": "\udcff"}, "no UTF-8"),
        ({f"META_A{number}": "x" for number in range(21)}, "21 fields"),
    ],
)
def test_unusable_variables(variables: dict[str, str], said: str) -> None:
    """None is left out in silence."""
    assert said in _problem(META, _environment(variables))


def test_a_file_is_read_anew(tmp_path: Path) -> None:
    """A change is seen at the next use."""
    places = _file(tmp_path, json.dumps({"access_token": VALUE, "app_id": "7"}).encode())
    assert _found(FILE, places) == {"access_token": VALUE, "app_id": "7"}
    _file(tmp_path, json.dumps({"access_token": "renewed"}).encode())
    assert _found(FILE, places) == {"access_token": "renewed"}


def test_links_within_the_folder_of_the_org_work(tmp_path: Path) -> None:
    """As a mounted secret is: a file that is a link into a folder that is a link."""
    version = tmp_path / "acme" / "..2026"
    version.mkdir(parents=True)
    (version / "meta.json").write_text(json.dumps({"token": VALUE}))
    (tmp_path / "acme" / "..data").symlink_to("..2026")
    (tmp_path / "acme" / "meta.json").symlink_to("..data/meta.json")
    assert _found(FILE, SecretPlaces(directory=tmp_path)) == {"token": VALUE}


def test_links_out_are_refused(tmp_path: Path) -> None:
    """To another place or another org, as a file or as a folder on the way."""
    secrets = tmp_path / "secrets"
    for folder in (secrets / "acme", secrets / "other", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "real.json").write_text(json.dumps({"token": VALUE}))
    places = SecretPlaces(directory=secrets)
    for name, target in (
        ("a.json", "../other/real.json"),
        ("b.json", "../../outside/real.json"),
        ("c.json", str(tmp_path / "outside" / "real.json")),
    ):
        (secrets / "acme" / name).symlink_to(target)
        assert "leads out of acme/" in _problem(FileCredential(f"acme/{name}"), places)
    (secrets / "acme" / "folder").symlink_to("../other")
    assert "leads out" in _problem(FileCredential("acme/folder/real.json"), places)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("meta.json", "below acme/"),
        ("other/meta.json", "below acme/"),
        ("acme", "below acme/"),
        ("acme/../other/meta.json", "no plain path"),
        ("../acme/meta.json", "no plain path"),
        ("/acme/meta.json", "no plain path"),
        ("acme//meta.json", "no plain path"),
        ("acme/./meta.json", "no plain path"),
        ("acme/", "no plain path"),
        ("acme/\0", "no plain path"),
        ("acme/meta.json\n", "no plain path"),
        ("acme/" + "a" * 251, "no plain path"),
        ("acme/none.json", "no such file"),
        ("acme/meta.json/x", "no such file"),
    ],
)
def test_paths_stay_below_the_folder_of_the_org(tmp_path: Path, path: str, said: str) -> None:
    """However they are written."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "meta.json").write_text(json.dumps({"token": VALUE}))
    places = _file(tmp_path, json.dumps({"token": VALUE}).encode())
    assert said in _problem(FileCredential(path), places)


@given(st.text(st.sampled_from("acme/.-x_"), max_size=20))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    """Any path is refused, or is that of a file of the org."""
    directory = tmp_path_factory.getbasetemp() / "secrets"
    for org in ("acme", "x"):
        (directory / org).mkdir(parents=True, exist_ok=True)
        (directory / org / "a").write_text(json.dumps({"token": org}))
    places = SecretPlaces(directory=directory)
    if path == "acme/a":
        assert _found(FileCredential(path), places) == {"token": "acme"}
    else:
        _problem(FileCredential(path), places)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (f'{{"token": "{VALUE}"'.encode(), "no JSON"),
        (f'"{VALUE}"'.encode(), "not of the form"),
        (f'[["token", "{VALUE}"]]'.encode(), "not of the form"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe\xfd", "no JSON"),
        (b"{}", "no fields"),
        (b'{"token": 7}', "'token' is no text"),
        (f'{{"token": {{"inner": "{VALUE}"}}}}'.encode(), "'token' is no text"),
        (f'{{"token": "{VALUE}", "token": "x"}}'.encode(), "comes twice"),
        (f'{{"Token": "{VALUE}"}}'.encode(), "'Token' is no name"),
        (b'{"token": ""}', "0 characters"),
        (b'{"token": "\\ud800"}', "no UTF-8"),
        (b" " * 1_048_577, "1048576 bytes"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, said: str) -> None:
    """The error says what is wrong and shows no value."""
    assert said in _problem(FILE, _file(tmp_path, content))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """Folders, pipes and sockets, without waiting for anybody to write into them."""
    places = _file(tmp_path, b"{}")
    (tmp_path / "acme" / "folder").mkdir()
    os.mkfifo(tmp_path / "acme" / "pipe")
    assert "no regular file" in _problem(FileCredential("acme/folder"), places)
    assert "no regular file" in _problem(FileCredential("acme/pipe"), places)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "acme" / "socket"))
        assert "the worker gets" in _problem(FileCredential("acme/socket"), places)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        _problem(FileCredential("acme/folder"), places)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_without_a_folder(tmp_path: Path) -> None:
    """The error names the setting."""
    assert "LIFTOS_SECRETS_DIRECTORY" in _problem(FILE, SecretPlaces())
    assert "no such file" in _problem(FILE, SecretPlaces(directory=tmp_path / "none"))
