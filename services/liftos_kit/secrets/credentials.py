"""Where a credential is kept, and how its fields are had from there.

Of the three places only the first belongs to the caller. Variables and files are the worker's, so
its operator says which org may name them: a prefix has to be granted to an org, and an org's files
are in the folder of its id.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import Final, assert_never

from liftos_kit.core.names import is_org_id, org_of
from liftos_kit.secrets.keyring import Keyring, KeyringMissingError, Sealed
from liftos_kit.secrets.secret import Secret

_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}", re.ASCII)
_PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,254}", re.ASCII)
_OWN_PREFIX: Final = "LIFTOS_"
_MAXIMUM_FIELDS: Final = 20
_MAXIMUM_VALUE_CHARACTERS: Final = 16_384
_MAXIMUM_FILE_BYTES: Final = 1_048_576
_SHOWN_CHARACTERS: Final = 63


class CredentialUnreadableError(Exception):
    """A referenced credential cannot be had.

    Attributes:
        reference: The prefix or path.
        problem: What is wrong and what to do, without any value.
    """

    def __init__(self, reference: str, problem: str) -> None:
        super().__init__(f"The credential {reference} cannot be read: {problem}.")
        self.reference = reference
        self.problem = problem


class GrantsInvalidError(Exception):
    """The list of granted prefixes cannot be read.

    Attributes:
        problem: What is wrong and what would be right.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"The granted prefixes cannot be read: {problem}.")
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """Kept by the service, encrypted."""

    sealed: Sealed


@dataclass(frozen=True, slots=True)
class EnvironmentCredential:
    """Kept in the worker's variables that begin with a prefix, such as `META_`."""

    prefix: str


@dataclass(frozen=True, slots=True)
class FileCredential:
    """Kept in a JSON file, `{"field": "value"}`, as a path below the worker's secrets folder."""

    path: str


CredentialSource = StoredCredential | EnvironmentCredential | FileCredential


@dataclass(frozen=True, slots=True)
class SecretPlaces:
    """Where this process finds credentials.

    Attributes:
        keyring: Opens stored ones; None where there are no keys.
        environment: The variables.
        granted_prefixes: (org id, prefix) of each prefix that an org may name.
        directory: The secrets folder; None where there is none.
    """

    keyring: Keyring | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    granted_prefixes: frozenset[tuple[str, str]] = frozenset()
    directory: Path | None = None


def resolve(
    source: CredentialSource, *, resource_name: str, places: SecretPlaces
) -> Mapping[str, Secret]:
    """Return the fields of a credential, read anew, 1 to 20.

    Args:
        source: Where it is kept.
        resource_name: Full name of what it belongs to, as `orgs/acme/connections/meta-1`.
        places: What this process has.

    Raises:
        KeyringMissingError: It is stored, and there are no keys.
        KeyUnknownError: It is stored under a key that is no longer there.
        SealBrokenError: It is stored, and damaged or that of another resource.
        CredentialUnreadableError: It is referenced, and not there or not allowed.
    """
    match source:
        case StoredCredential(sealed):
            if places.keyring is None:
                raise KeyringMissingError
            return places.keyring.open(sealed, resource_name=resource_name)
        case EnvironmentCredential(prefix):
            return _from_environment(prefix, org=org_of(resource_name), places=places)
        case FileCredential(path):
            return _from_file(path, org=org_of(resource_name), directory=places.directory)
        case _:
            assert_never(source)


def parse_granted_prefixes(text: str) -> frozenset[tuple[str, str]]:
    """Read grants from `org:PREFIX`, separated by commas.

    Raises:
        GrantsInvalidError: The text has another form, or grants the services' own variables.
    """
    grants = set()
    for item in filter(None, (part.strip() for part in text.split(","))):
        org, _, prefix = item.partition(":")
        if not is_org_id(org) or _PREFIX.fullmatch(prefix) is None:
            raise GrantsInvalidError(f"{item!r} is not of the form acme:META_")
        if prefix.startswith(_OWN_PREFIX) or _OWN_PREFIX.startswith(prefix):
            raise GrantsInvalidError(f"{prefix} would give away the settings of the services")
        grants.add((org, prefix))
    return frozenset(grants)


def _from_environment(prefix: str, *, org: str, places: SecretPlaces) -> Mapping[str, Secret]:
    if (org, prefix) not in places.granted_prefixes:
        raise CredentialUnreadableError(
            prefix,
            f"the org {org} may not use it; add {org}:{prefix} to"
            " LIFTOS_SECRET_ENVIRONMENT_PREFIXES of the worker",
        )
    found = (
        (name.removeprefix(prefix).lower(), value)
        for name, value in places.environment.items()
        # As everywhere, a variable that is set to nothing is not set.
        if name.startswith(prefix) and value
    )
    return _checked(found, reference=prefix)


def _from_file(path: str, *, org: str, directory: Path | None) -> Mapping[str, Secret]:
    if directory is None:
        raise CredentialUnreadableError(
            path, "the worker has no secrets folder; set LIFTOS_SECRETS_DIRECTORY"
        )
    parts = path.split("/")
    if _PATH.fullmatch(path) is None or not {"", ".", ".."}.isdisjoint(parts):
        raise CredentialUnreadableError(path, "it is no plain path below the secrets folder")
    if parts[0] != org or len(parts) == 1:
        raise CredentialUnreadableError(path, f"files of the org {org} are below {org}/")
    return _checked(_fields_in(_content(path, org=org, directory=directory), path), reference=path)


def _content(path: str, *, org: str, directory: Path) -> bytes:
    try:
        # Mounted secrets are links within their folder; a link that leads out is refused.
        target = (directory / path).resolve(strict=True)
        inside = target.is_relative_to(directory.resolve(strict=True) / org)
    except (OSError, RuntimeError):
        raise CredentialUnreadableError(path, "there is no such file") from None
    if not inside:
        raise CredentialUnreadableError(path, f"it is a link that leads out of {org}/")
    try:
        content = _read(target)
    except OSError as error:
        raise CredentialUnreadableError(path, f"the worker gets {error.strerror!r}") from None
    if content is None:
        raise CredentialUnreadableError(path, "it is no regular file")
    if len(content) > _MAXIMUM_FILE_BYTES:
        raise CredentialUnreadableError(path, f"it has more than {_MAXIMUM_FILE_BYTES} bytes")
    return content


def _read(target: Path) -> bytes | None:
    """Return the first bytes of a regular file, None for anything else."""
    # Without O_NONBLOCK, to open a pipe would wait for somebody to write.
    descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_MAXIMUM_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _fields_in(content: bytes, path: str) -> list[tuple[str, str]]:
    try:
        # As pairs, because a second field of the same name must not hide the first.
        pairs = json.loads(content, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise CredentialUnreadableError(path, "it is no JSON") from None
    if not isinstance(pairs, _Pairs):
        raise CredentialUnreadableError(path, 'it is not of the form {"field": "value"}')
    for name, value in pairs:
        if not isinstance(value, str):
            raise CredentialUnreadableError(
                path, f"the value of {name[:_SHOWN_CHARACTERS]!r} is no text"
            )
    return pairs


class _Pairs(list[tuple[str, str]]):
    """The members of a JSON object, in order."""


def _checked(fields: Iterable[tuple[str, str]], *, reference: str) -> Mapping[str, Secret]:
    secrets: dict[str, Secret] = {}
    for name, value in fields:
        if _FIELD.fullmatch(name) is None:
            raise CredentialUnreadableError(
                reference,
                f"{name[:_SHOWN_CHARACTERS]!r} is no name of a field (a to z, 0 to 9 and _)",
            )
        if name in secrets:
            raise CredentialUnreadableError(reference, f"the field {name!r} comes twice")
        if not 1 <= len(value) <= _MAXIMUM_VALUE_CHARACTERS:
            raise CredentialUnreadableError(
                reference, f"{name!r} has {len(value)} characters, not 1 to 16,384"
            )
        if not _is_text(value):
            raise CredentialUnreadableError(reference, f"{name!r} is no UTF-8 text")
        secrets[name] = Secret(value)
    if not secrets:
        raise CredentialUnreadableError(reference, "it has no fields; the worker must have them")
    if len(secrets) > _MAXIMUM_FIELDS:
        raise CredentialUnreadableError(
            reference, f"it has {len(secrets)} fields, at most {_MAXIMUM_FIELDS} are allowed"
        )
    return MappingProxyType(secrets)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
