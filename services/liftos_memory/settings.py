"""What Memory is told by its environment."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, SecretStr

from liftos_kit.settings import NotificationSettings, SecretSettings


class MemorySettings(SecretSettings, NotificationSettings):
    """Settings of Memory's server, worker and schema runner."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8003
    postgres_connections: Annotated[int, Field(ge=4, le=200)] = 20
    """Connections to Postgres per process, at most; a quarter of them serves point reads alone."""
    executor_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads for checks, encodings and embeddings per process."""
    embedder: str = "onnx:all-MiniLM-L6-v2"
    """Which model embeds texts; see `liftos_memory.adapters.embedders`."""
    embedder_api_key: SecretStr | None = None
    """Sent to an embedder behind a URL."""

    cache_bytes: Annotated[int, Field(ge=0, le=64 * 1024**3)] = 64 * 1024**2
    """Answers and vectors of queries that a process keeps, at most; 0 keeps none."""
    cache_redis_bytes: Annotated[int, Field(ge=0, le=1024 * 1024**3)] = 256 * 1024**2
    """The same in Redis, for all servers together; 0 keeps none there."""

    insight_quiet_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 120.0
    """How long nothing is written before an org is looked at for insights."""
    insight_wait_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 1_800.0
    """How long a write waits for that, at most."""
    insight_every_hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)] = 24.0
    """How often an org is looked at where nothing is written."""
    insight_wording_url: str = ""
    """An OpenAI-compatible server that words insights, such as `https://host/v1`; empty: none."""
    insight_wording_model: str = ""
    """The model's name there."""
    insight_wording_api_key: SecretStr | None = None
    """Sent to it."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        yield from super().check()
        if bool(self.insight_wording_url) != bool(self.insight_wording_model):
            yield "insight_wording_model", "insight_wording_url and the model go together"
        for field in ("postgres_url", "redis_url", "milvus_url"):
            if getattr(self, field) is None:
                yield field, "Memory needs it"


class MigrateSettings(MemorySettings):
    """Settings of `python -m liftos_memory migrate`.

    It may be given the whole environment of Memory and needs the owner's Postgres alone.
    """

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        if self.postgres_owner_url is None:
            yield "postgres_owner_url", "the schema runner needs it"
