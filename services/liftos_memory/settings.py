"""What Memory is told by its environment."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, SecretStr

from liftos_kit.settings import ServiceSettings


class MemorySettings(ServiceSettings):
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

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        yield from super().check()
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
