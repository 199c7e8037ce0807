"""Secrets that commands take: from a file, from stdin, from the environment; never as arguments.

What was read is never shown again, not in errors either.
"""

import getpass
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos.ingestion.v1.connection_pb2 import Credential, SecretFields
from liftos_cli.errors import CommandError

_STDIN: Final = Path("-")
_PANEL: Final = "Credential"
_VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]{0,63}")

CredentialFileOption = Annotated[
    Path | None,
    typer.Option(
        "--credential-file",
        "--credential",
        metavar="FILE",
        help='Send the fields of this JSON file, {"access_token": "…"}, to be kept encrypted;'
        " - is stdin.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
CredentialVariablesOption = Annotated[
    str | None,
    typer.Option(
        "--credential-env",
        metavar="PREFIX",
        help="Send this shell's variables that begin so: with META_, META_ACCESS_TOKEN is"
        " access_token.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
WorkerVariablesOption = Annotated[
    str | None,
    typer.Option(
        "--worker-env",
        metavar="PREFIX",
        help="Send nothing: the workers have variables that begin so.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
WorkerFileOption = Annotated[
    str | None,
    typer.Option(
        "--worker-file",
        metavar="PATH",
        help="Send nothing: the workers have this file in their secrets folder.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


def read_credential(
    file: Path | None,
    variables_prefix: str | None,
    worker_prefix: str | None,
    worker_file: str | None,
) -> Credential | None:
    """Return the credential that the options give; None where they give none.

    Raises:
        CommandError: There are several, or it cannot be read.
    """
    given = [
        option
        for option, value in (
            ("--credential-file", file),
            ("--credential-env", variables_prefix),
            ("--worker-env", worker_prefix),
            ("--worker-file", worker_file),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise CommandError(f"{' and '.join(given)} do not go together", advice="give one of them")
    if worker_prefix is not None:
        return Credential(environment_prefix=worker_prefix)
    if worker_file is not None:
        return Credential(file_path=worker_file)
    if file is not None:
        return _stored(_fields_of_text(_read(file, "--credential-file")))
    if variables_prefix is not None:
        return _stored(_fields_of_variables(variables_prefix))
    return None


def required_credential(credential: Credential | None) -> Credential:
    """Return the credential.

    Raises:
        CommandError: There is none.
    """
    if credential is None:
        raise CommandError(
            "no credential is given",
            advice="give --credential-file, --credential-env, --worker-env or --worker-file",
        )
    return credential


def read_secret_text(
    file: Path | None, variable: str | None, *, file_option: str, variable_option: str
) -> str | None:
    """Return one secret of a file, stdin or a variable; None where neither is given.

    Raises:
        CommandError: Both are given, or it cannot be read or is empty.
    """
    if file is not None and variable is not None:
        raise CommandError(
            f"{file_option} and {variable_option} do not go together", advice="give one of them"
        )
    if file is not None:
        text = _read(file, file_option).strip()
        if not text:
            raise CommandError(
                f"the file of {file_option} is empty", advice="write it into the file"
            )
        return text
    if variable is None:
        return None
    text = os.environ.get(variable, "").strip()
    if not text:
        raise _unset(variable, variable_option)
    return text


def _unset(variable: str, option: str) -> CommandError:
    """Return that a variable has no value. What is no name may be the secret, and is not shown."""
    if not _VARIABLE.fullmatch(variable):
        return CommandError(
            f"{option} takes the name of a variable, and not what is in it",
            advice=f"export it under a name, and give that: `{option} NAME`; what was typed is in"
            " the history of the shell now",
        )
    return CommandError(
        f"the variable {variable} of {option} is not set, or is empty",
        advice=f"set and export it: `export {variable}=…`",
    )


def _stored(fields: Mapping[str, str]) -> Credential:
    return Credential(stored=SecretFields(values=fields))


def _read(file: Path, option: str) -> str:
    """Read a file or stdin.

    Raises:
        CommandError: It cannot be read. The name is not shown: it may be the secret itself.
    """
    try:
        if file != _STDIN:
            return file.read_text(encoding="utf-8")
        if sys.stdin.isatty():
            return getpass.getpass("Secret (hidden): ")
        return sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CommandError(
            f"the file of {option} cannot be read ({reason})",
            advice="name a file, or - for stdin; a secret that was typed in place of a file is in"
            " the history of the shell now, so take a new one",
        ) from None


def _fields_of_text(text: str) -> Mapping[str, str]:
    shape = 'write it as {"access_token": "…"}; `liftos sources get PLATFORM` shows the fields'
    try:
        fields = json.loads(text)
    except ValueError:
        raise CommandError("the credential is no JSON", advice=shape) from None
    if not isinstance(fields, dict) or not fields:
        raise CommandError("the credential is no JSON object with fields", advice=shape)
    wrong = sorted(name for name, value in fields.items() if not isinstance(value, str))
    if wrong:
        raise CommandError(
            f"the field {wrong[0]} of the credential is no text", advice="write it in quotes"
        )
    return fields


def _fields_of_variables(prefix: str) -> Mapping[str, str]:
    fields = {
        name.removeprefix(prefix).lower(): value
        for name, value in os.environ.items()
        if name.startswith(prefix) and len(name) > len(prefix) and value
    }
    if not fields:
        raise CommandError(
            f"no variable begins with {prefix}",
            advice=f"set them, such as {prefix}ACCESS_TOKEN, and export them",
        )
    return fields
