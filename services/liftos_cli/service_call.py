"""What every command that asks a server shares: its options, its connection, its errors."""

import asyncio
import functools
import inspect
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec, TypeVar, get_args

import grpc
import typer

from liftos_cli.advice import advice_for
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, service_address, token_secret
from liftos_cli.output import say
from liftos_cli.reachability import check_target, no_stack, unreachable
from liftos_cli.tokens import issue_token
from liftos_client.connection import Client, TlsOptions, connect, org_of_token
from liftos_client.errors import FieldViolation, LiftosError

_Parameters = ParamSpec("_Parameters")
_Call = TypeVar("_Call")

_PANEL: Final = "Server"
_SHOWN_VIOLATIONS: Final = 20
_RANGE: Final = "date_range"
_SAME_CHARACTERS: Final = 60
_TOKEN_SECONDS: Final = 3_600
_UNREACHABLE: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that commands call.

    Attributes:
        title: Its name in sentences.
        word: Its scope in tokens, and its process in an embedded stack.
        variable: Environment variable that has its address.
    """

    title: str
    word: str
    variable: str

    @property
    def target_annotation(self) -> object:
        """What typer reads of --target."""
        option = typer.Option(
            "--target",
            envvar=self.variable,
            metavar="HOST:PORT",
            help=f"{self.title}'s address; by default that of the running stack.",
            rich_help_panel=_PANEL,
            show_default=False,
        )
        return Annotated[str | None, option]


MEMORY: Final = Service("Memory", "memory", "LIFTOS_TARGET")
INGESTION: Final = Service("Ingestion", "ingestion", "LIFTOS_INGESTION_TARGET")
MIGRATION: Final = Service("Migration", "migration", "LIFTOS_MIGRATION_TARGET")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The shared options, as typed."""

    target: str | None = None
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LIFTOS_TOKEN",
            help="Bearer token; by default made with the secret of the running stack.",
            rich_help_panel=_PANEL,
            show_default=False,
            show_envvar=True,
        ),
    ] = field(default=None, repr=False)
    org: Annotated[
        str | None,
        typer.Option(
            envvar="LIFTOS_ORG",
            help="Organisation of a token made here; demo by default.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    data_dir: DataDirOption = None
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt the connection.", rich_help_panel=_PANEL)
    ] = False
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Authorities to trust (PEM); implies --tls.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    tls_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Own certificate (PEM), for servers that ask for one.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Key of the own certificate (PEM).",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Longest wait for an answer.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Trace the calls, and say under which id."),
    ] = False
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False


def calls_service(
    command: Callable[Concatenate[_Call, _Parameters], Awaitable[None]],
    service: Service,
    make_call: Callable[[Client, bool], _Call],
) -> Callable[..., None]:
    """Make a command of a coroutine function: adds the shared options, connects, runs it.

    Args:
        command: Takes what `make_call` gives, and its own options.
        service: What it calls.
        make_call: Makes its first argument of the client, and of whether to print JSON.
    """
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=service.target_annotation if each.name == "target" else each.type,
        )
        for each in fields(ServerOptions)
    ]

    async def connected(server: ServerOptions, arguments: Any, options: Any) -> None:  # noqa: ANN401
        target, client = open_client(server, service)
        async with client:
            with _trace(enabled=server.trace):
                try:
                    await command(make_call(client, server.json), *arguments, **options)
                except LiftosError as error:
                    # With a reason it is the server's own answer.
                    if error.code not in _UNREACHABLE or error.reason:
                        raise
                    encrypted = _tls(server) is not None
                    look = functools.partial(
                        unreachable, target, encrypted=encrypted, reason=error.message
                    )
                    raise await asyncio.to_thread(look) from None

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:  # noqa: ANN401  # what typer parsed
        server = ServerOptions(**{each.name: options.pop(each.name) for each in shared})
        with server_errors(service, options_of=own):
            asyncio.run(connected(server, arguments, options))

    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    return run


def open_client(server: ServerOptions, service: Service) -> tuple[str, Client]:
    """Return the server that the options, the environment or the stack names, and its client.

    Raises:
        CommandError: No server or no token is known, the server is named by a URL, the token is
            of another organisation than was asked for, or a TLS file cannot be read.
    """
    data_dir = chosen_data_dir(server.data_dir)
    own_target = service_address(data_dir, service.word) if server.target is None else None
    target = server.target or own_target
    if target is None:
        raise no_stack(data_dir)
    check_target(target)
    token = server.token or _make_token(server, service, data_dir, target)
    if server.org and (org := org_of_token(token)) != server.org:
        raise CommandError(
            f"the token is of organisation {org!r}, not of {server.org!r}",
            advice="use a token of that organisation, or leave --org and LIFTOS_ORG away",
        )
    tls = _tls(server)
    return target, connect(target, token=token, tls=tls, timeout_seconds=server.timeout)


def _make_token(server: ServerOptions, service: Service, data_dir: Path, target: str) -> str:
    """Sign a token with the secret of the stack that is called, and with no other's."""
    secret = os.environ.get("LIFTOS_JWT_SECRET")
    # A server elsewhere could use what it is sent against the stack on this machine.
    if not secret and target == service_address(data_dir, service.word):
        secret = token_secret(data_dir)
    if not secret:
        raise CommandError(
            f"there is no token for {target}",
            advice="give --token or set LIFTOS_TOKEN; `liftos token` makes one where the secret is",
        )
    return issue_token(
        secret,
        org=server.org or "demo",
        roles=("admin",),
        subject="liftos-cli",
        lifetime_seconds=_TOKEN_SECONDS,
    )


def _tls(server: ServerOptions) -> TlsOptions | None:
    if not (server.tls or server.tls_ca or server.tls_certificate):
        return None
    return TlsOptions(
        ca_certificates=_pem(server.tls_ca),
        certificate_chain=_pem(server.tls_certificate),
        private_key=_pem(server.tls_key),
    )


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror})", advice="name a PEM file"
        ) from None


@contextmanager
def server_errors(
    service: Service, *, options_of: Sequence[inspect.Parameter] = ()
) -> Iterator[None]:
    """Turn errors of calls into errors of a command.

    Args:
        service: What was called.
        options_of: Parameters of the command. What one of them fills of a request is told under
            the name of its option, where it has the name of the field.
    """
    try:
        yield
    except LiftosError as error:
        options = _option_names(options_of)
        lines = _violation_lines(error, options)
        message = error.message or error.code.name
        if error.reason == "FIELD_INVALID" and lines:
            message = lines.pop(0)
        details = lines[:_SHOWN_VIOLATIONS]
        if more := len(lines) - len(details):
            details.append(f"and {more} more")
        if error.trace_id:
            details.append(f"trace {error.trace_id}; see `liftos trace {error.trace_id}`")
        raise CommandError(
            message,
            advice=advice_for(error, service=service.title, scope=service.word),
            details=details,
            exit_code=_exit_code(error, options),
        ) from None


def _exit_code(error: LiftosError, options: Mapping[str, str]) -> ExitCode:
    if error.code in _UNREACHABLE:
        return ExitCode.UNREACHABLE
    typed = error.reason == "FIELD_INVALID" and any(
        _typed_name(each.field, options) != each.field for each in error.field_violations
    )
    return ExitCode.USAGE if typed else ExitCode.REFUSED


def _violation_lines(error: LiftosError, options: Mapping[str, str]) -> list[str]:
    """Return what is wrong, one line a field or an unmet gate, without what the message says."""
    if error.reason == "GATE_UNMET":
        return [
            f"{each.rule}: {each.description}"
            for each in error.field_violations
            if each.description[:_SAME_CHARACTERS] not in error.message
        ]
    return [
        f"{_typed_name(each.field, options)}: {_typed_ends(each, options)}"
        for each in error.field_violations
        if error.reason == "FIELD_INVALID"
        # The message may be cut off, and so may the description.
        or each.description[:_SAME_CHARACTERS] not in error.message
    ]


def _typed_name(path: str, options: Mapping[str, str]) -> str:
    """Return what the user types for a field, and the field itself where it is no option.

    The field's own name counts: group_by of group_by[0]. A range of days is two options, each named
    after it: baseline_start_date for baseline_date_range.start_date.
    """
    *above, name = (part.partition("[")[0] for part in path.split("."))
    if above and above[-1].endswith(_RANGE):
        name = above[-1].removesuffix(_RANGE) + name
    if name.endswith(_RANGE) and name not in options:
        return " and ".join(_ends(name, options).values()) or path
    return options.get(name, path)


def _typed_ends(violation: FieldViolation, options: Mapping[str, str]) -> str:
    """Return a description in which the ends of a range of days are what the user types."""
    text, name = violation.description, violation.field.rpartition(".")[2]
    if name.endswith(_RANGE):
        for end, option in _ends(name, options).items():
            text = text.replace(end, option)
    return text


def _ends(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the options of a range's first and last day, as far as there are any."""
    prefix = name.removesuffix(_RANGE)
    ends = {end: options.get(f"{prefix}{end}") for end in ("start_date", "end_date")}
    return {end: option for end, option in ends.items() if option}


def _option_names(parameters: Sequence[inspect.Parameter]) -> dict[str, str]:
    """Return what the user types of each parameter, by its name."""
    names: dict[str, str] = {}
    for parameter in parameters:
        name = parameter.name.rstrip("_")
        for described in get_args(parameter.annotation):
            if isinstance(described, typer.models.OptionInfo):
                # In an annotation, typer takes the first name for the default.
                typed = [*filter(None, (described.default,)), *(described.param_decls or ())]
                long = [each for each in typed if str(each).startswith("--")]
                names[name] = long[0] if long else f"--{name.replace('_', '-')}"
            elif isinstance(described, typer.models.ArgumentInfo):
                names[name] = described.metavar or name.upper()
    return names


@contextmanager
def _trace(*, enabled: bool) -> Iterator[None]:
    """Give the calls inside one trace id of our own, and say it at the end."""
    if not enabled:
        yield
        return
    try:
        # Not a requirement of the command line; the client passes the current span on.
        from opentelemetry import context, trace  # noqa: PLC0415
    except ImportError:
        raise CommandError(
            "--trace needs the package opentelemetry-api",
            advice="install it, or leave --trace away",
        ) from None
    span = trace.SpanContext(
        trace_id=secrets.randbits(128) or 1,
        span_id=secrets.randbits(64) or 1,
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    attached = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
    try:
        yield
    finally:
        context.detach(attached)
        say(f"trace: {span.trace_id:032x}; see `liftos trace {span.trace_id:032x}`")
