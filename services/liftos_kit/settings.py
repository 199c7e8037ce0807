"""What a service is told by its environment, checked as a whole before anything starts."""

import hmac
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from liftos_kit.secrets.credentials import (
    GrantsInvalidError,
    SecretPlaces,
    parse_granted_prefixes,
)
from liftos_kit.secrets.keyring import Keyring, KeyringInvalidError, parse_keyring, read_keyring
from liftos_kit.secrets.secret import Secret

PREFIX: Final = "LIFTOS_"

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
S = TypeVar("S", bound="ServiceSettings")

_MINIMUM_SECRET_BYTES: Final = 32


class SettingsError(Exception):
    """The environment is wrong; its text has one line for each wrong key.

    Attributes:
        problems: What is wrong, by key; never holds a secret.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        lines = [f"  {key}: {problem}" for key, problem in sorted(problems.items())]
        super().__init__("\n".join(["The settings are wrong:", *lines]))
        self.problems = dict(problems)


class ServiceSettings(BaseSettings):
    """Settings that every service has; a service adds its own fields in a subclass.

    The field `drain_seconds` is the key `LIFTOS_DRAIN_SECONDS`, and so on.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: Port = 0
    metrics_port: Port | None = None
    processes: Annotated[int, Field(ge=1, le=64)] = 1

    postgres_url: SecretStr | None = None
    postgres_owner_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    milvus_url: SecretStr | None = None

    jwt_algorithm: Literal["HS256", "RS256"] = "HS256"
    jwt_secret: SecretStr | None = None
    jwt_jwks_url: str | None = None
    jwt_jwks_file: Path | None = None
    jwt_issuer: str = "liftos"
    jwt_audience: str = "liftos"
    page_token_secret: SecretStr | None = None

    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    reflection: bool = True

    otlp_endpoint: str | None = None
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    span_directory: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    drain_seconds: Seconds = 20.0
    shutdown_delay_seconds: Seconds = 0.0
    maximum_connection_age_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    maximum_concurrent_calls: Annotated[int, Field(ge=1)] = 256
    default_deadline_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what `load` gives and nothing else, so that one place sees every key."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @property
    def effective_metrics_port(self) -> int:
        """The metrics port: as set, else 1000 above the port, else any free one."""
        if self.metrics_port is not None:
            return self.metrics_port
        return self.port + 1_000 if self.port else 0

    @property
    def page_token_key(self) -> bytes:
        """Key of page tokens, from its own secret or else derived from that of the JWTs."""
        secret = self.page_token_secret or self.jwt_secret
        assert secret is not None, "checked by load"
        return hmac.digest(secret.get_secret_value().encode(), b"liftos page tokens", "sha256")

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields; subclasses add to it."""
        if self.jwt_algorithm == "HS256":
            if self.jwt_secret is None:
                yield "jwt_secret", "HS256 needs it; set at least 32 random bytes"
            elif len(self.jwt_secret.get_secret_value().encode()) < _MINIMUM_SECRET_BYTES:
                yield "jwt_secret", "must have at least 32 bytes"
        else:
            if (self.jwt_jwks_url is None) == (self.jwt_jwks_file is None):
                yield "jwt_jwks_url", "RS256 needs either it or LIFTOS_JWT_JWKS_FILE"
            if self.jwt_secret is not None:
                yield "jwt_secret", "RS256 does not use it; remove it"
            if self.page_token_secret is None:
                yield "page_token_secret", "RS256 needs it; set at least 32 random bytes"
        page_token_secret = self.page_token_secret
        if (
            page_token_secret is not None
            and len(page_token_secret.get_secret_value().encode()) < _MINIMUM_SECRET_BYTES
        ):
            yield "page_token_secret", "must have at least 32 bytes"
        yield from self._check_tls()
        if self.processes > 1 and self.port == 0:
            yield "port", "several processes share one port; name it"
        if self.effective_metrics_port > 65_535:
            yield "metrics_port", "the port is too high for a metrics port 1000 above; set it"

    def _check_tls(self) -> Iterator[tuple[str, str]]:
        if self.tls_certificate_file is not None and self.tls_key_file is None:
            yield "tls_key_file", "goes with LIFTOS_TLS_CERTIFICATE_FILE; set both"
        if self.tls_key_file is not None and self.tls_certificate_file is None:
            yield "tls_certificate_file", "goes with LIFTOS_TLS_KEY_FILE; set both"
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            yield "tls_client_ca_file", "needs LIFTOS_TLS_CERTIFICATE_FILE as well"
        for field in ("tls_certificate_file", "tls_key_file", "tls_client_ca_file"):
            path: Path | None = getattr(self, field)
            if path is not None and not path.is_file():
                yield field, f"{path} is no file"

    def describe(self) -> dict[str, str]:
        """Return each key and its value as text, without secrets."""
        return {
            _key(field): _shown(getattr(self, field)) for field in sorted(type(self).model_fields)
        }


class SecretSettings(ServiceSettings):
    """Settings of services that hold credentials of others."""

    secret_keys: SecretStr | None = None
    """Keys for stored secrets, `id:base64` with commas between; the first seals, all open."""
    secret_keys_file: Path | None = None
    """A file with such keys, instead."""
    secrets_directory: Path | None = None
    """Folder of credentials in files; those of an org are in the folder of its id."""
    secret_environment_prefixes: str = ""
    """Which org may name which variables as its credentials: `acme:META_,acme:KLAVIYO_`."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        yield from super().check()
        if self.secret_keys is not None and self.secret_keys_file is not None:
            yield "secret_keys_file", "LIFTOS_SECRET_KEYS is set as well; remove one"
        else:
            try:
                self.keyring()
            except KeyringInvalidError as error:
                field = "secret_keys" if self.secret_keys is not None else "secret_keys_file"
                yield field, error.problem
        if self.secrets_directory is not None and not self.secrets_directory.is_dir():
            yield "secrets_directory", f"{self.secrets_directory} is no folder"
        try:
            parse_granted_prefixes(self.secret_environment_prefixes)
        except GrantsInvalidError as error:
            yield "secret_environment_prefixes", error.problem

    def keyring(self) -> Keyring | None:
        """Return the keys, read now; None where none are set.

        Raises:
            KeyringInvalidError: They cannot be used, which `load` would have found then.
        """
        if self.secret_keys is not None:
            return parse_keyring(Secret(self.secret_keys.get_secret_value()))
        return None if self.secret_keys_file is None else read_keyring(self.secret_keys_file)

    def secret_places(self, environment: Mapping[str, str] = os.environ) -> SecretPlaces:
        """Return where this process finds credentials."""
        return SecretPlaces(
            keyring=self.keyring(),
            environment=environment,
            granted_prefixes=parse_granted_prefixes(self.secret_environment_prefixes),
            directory=self.secrets_directory,
        )


class CallerSettings(ServiceSettings):
    """Settings of services that call Memory in the name of an org."""

    memory_address: str = "127.0.0.1:8003"
    """Where Memory answers, as host:port."""
    memory_ca_file: Path | None = None
    """Authorities that Memory's certificate is checked against; unset is plain text."""
    memory_certificate_file: Path | None = None
    """Certificate that is shown to Memory, where it asks for one."""
    memory_key_file: Path | None = None
    """Key of that certificate."""
    service_key_file: Path | None = None
    """Private key, as PEM, that signs the tokens for Memory; RS256 needs it."""
    service_key_id: str = ""
    """Its `kid` in the JWKS document."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        yield from super().check()
        if self.jwt_algorithm == "RS256" and self.service_key_file is None:
            yield "service_key_file", "RS256 needs it, to call Memory"
        for field in ("memory_ca_file", "memory_certificate_file", "memory_key_file"):
            path: Path | None = getattr(self, field)
            if path is not None and not path.is_file():
                yield field, f"{path} is no file"


class NotificationSettings(ServiceSettings):
    """Settings of services that send alerts."""

    notification_timeout_seconds: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = 15.0
    """How long one message may take until it has failed."""
    notification_private_targets: bool = False
    """True lets alerts go to loopback and private addresses as well."""


def load(cls: type[S], environment: Mapping[str, str] = os.environ) -> S:
    """Read the settings of a service.

    Args:
        cls: The service's settings.
        environment: Where the `LIFTOS_*` keys are; all others are left alone.

    Raises:
        SettingsError: Keys are unknown or have wrong values; names all of them.
    """
    problems: dict[str, str] = {}
    values: dict[str, str] = {}
    fields = {_key(field): field for field in cls.model_fields}
    for key, value in environment.items():
        if not key.startswith(PREFIX):
            continue
        if key in fields:
            values[fields[key]] = value
        else:
            problems[key] = "is no setting of this service; remove it or correct its name"
    try:
        settings = cls(**_without_empty(values))
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False):
            problems.setdefault(*_problem(cls, detail, values))
        raise SettingsError(problems) from None
    for field, problem in settings.check():
        problems.setdefault(_key(field), problem)
    if problems:
        raise SettingsError(problems)
    return settings


def _without_empty(values: Mapping[str, str]) -> dict[str, Any]:
    # Compose files and charts set a key to nothing where they mean "not set".
    return {field: value for field, value in values.items() if value}


def _problem(
    cls: type[ServiceSettings], detail: ErrorDetails, values: Mapping[str, str]
) -> tuple[str, str]:
    field = str(detail["loc"][0])
    # What a check of ours says comes without the "Value error, " that pydantic puts before it.
    problem = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else detail["msg"]
    value = values.get(field)
    if value is None or _is_secret(cls, field):
        return _key(field), problem
    return _key(field), f"{problem}, not {value!r}"


def _is_secret(cls: type[ServiceSettings], field: str) -> bool:
    return "SecretStr" in str(cls.model_fields[field].annotation)


def _key(field: str) -> str:
    return PREFIX + field.upper()


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case SecretStr():
            return _without_password(value.get_secret_value())
        case _:
            return str(value)


def _without_password(secret: str) -> str:
    """Return where a URL points to, and of any other secret only that it is there."""
    parts = urlsplit(secret)
    if not parts.hostname:
        return "set"
    # Hosts may be several, as in postgresql://user:password@one,two/liftos.
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, hosts, parts.path, "", ""))
