"""The `LIFTOS_*` keys that each process accepts, and which of them always carry a secret."""

from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.settings import MigrateSettings as IngestionMigrateSettings
from liftos_kit.settings import PREFIX, ServiceSettings
from liftos_memory.settings import MemorySettings
from liftos_memory.settings import MigrateSettings as MemoryMigrateSettings

_SETTINGS: dict[str, tuple[type[ServiceSettings], type[ServiceSettings]]] = {
    "liftos_memory": (MemorySettings, MemoryMigrateSettings),
    "liftos_ingestion": (IngestionSettings, IngestionMigrateSettings),
}
# Milvus's URL carries a secret only where Milvus asks for credentials.
_NOT_ALWAYS_SECRET = frozenset({"LIFTOS_MILVUS_URL"})


def settings_of(module: str, command: str) -> type[ServiceSettings]:
    """The settings that `python -m MODULE COMMAND` loads."""
    process, migrate = _SETTINGS.get(module, (ServiceSettings, ServiceSettings))
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


ENVIRONMENT_KEYS = keys_of(MemorySettings) | keys_of(IngestionSettings)
SECRET_KEYS = (
    _secret_keys_of(MemorySettings) | _secret_keys_of(IngestionSettings)
) - _NOT_ALWAYS_SECRET
