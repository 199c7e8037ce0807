"""The `LIFTOS_*` keys that a process accepts, and which of them always carry a secret."""

from liftos_kit.settings import PREFIX
from liftos_memory.settings import MemorySettings

# Milvus's URL carries a secret only where Milvus asks for credentials.
NOT_ALWAYS_SECRET = frozenset({"LIFTOS_MILVUS_URL"})

ENVIRONMENT_KEYS = frozenset(PREFIX + name.upper() for name in MemorySettings.model_fields)
SECRET_KEYS = (
    frozenset(
        PREFIX + name.upper()
        for name, field in MemorySettings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    )
    - NOT_ALWAYS_SECRET
)
