"""The `LIFTOS_*` keys that each process accepts, and which of them always carry a secret."""

from liftos_causal.settings import CausalSettings
from liftos_causal.settings import MigrateSettings as CausalMigrateSettings
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.settings import MigrateSettings as IngestionMigrateSettings
from liftos_kit.settings import PREFIX, ServiceSettings
from liftos_memory.settings import MemorySettings
from liftos_memory.settings import MigrateSettings as MemoryMigrateSettings
from liftos_migration.settings import MigrateSettings as MigrationMigrateSettings
from liftos_migration.settings import MigrationSettings

_SETTINGS: dict[str, tuple[type[ServiceSettings], type[ServiceSettings]]] = {
    "liftos_memory": (MemorySettings, MemoryMigrateSettings),
    "liftos_ingestion": (IngestionSettings, IngestionMigrateSettings),
    "liftos_migration": (MigrationSettings, MigrationMigrateSettings),
    "liftos_causal": (CausalSettings, CausalMigrateSettings),
}
# Milvus's URL carries a secret only where Milvus asks for credentials.
_NOT_ALWAYS_SECRET = frozenset({"LIFTOS_MILVUS_URL"})


def settings_of(module: str, command: str) -> type[ServiceSettings]:
    """The settings that `python -m MODULE COMMAND` loads."""
    process, migrate = _SETTINGS[module]
    return migrate if command == "migrate" else process


def keys_of(settings: type[ServiceSettings]) -> frozenset[str]:
    """Every key that the settings accept."""
    return frozenset(PREFIX + name.upper() for name in settings.model_fields)


def _secret_keys_of(settings: type[ServiceSettings]) -> frozenset[str]:
    return frozenset(
        PREFIX + name.upper()
        for name, field in settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    )


_PROCESSES = tuple(process for process, _ in _SETTINGS.values())
ENVIRONMENT_KEYS = frozenset().union(*map(keys_of, _PROCESSES))
SECRET_KEYS = frozenset().union(*map(_secret_keys_of, _PROCESSES)) - _NOT_ALWAYS_SECRET
