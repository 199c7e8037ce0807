"""What the Causal service is told by its environment."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from liftos_kit.settings import CallerSettings, Port


class CausalSettings(CallerSettings):
    """Settings of the Causal service; `postgres_url` is the module's own database."""

    port: Port = 8008
    store: Literal["module", "core"] = "module"
    """Where its data is: in a database of its own, or on Core."""
    ingestion_address: str = "127.0.0.1:8006"
    """Where Ingestion answers, as host:port; it reads platforms for the module on Core."""
    postgres_connections: Annotated[int, Field(ge=2, le=200)] = 10
    """Connections to Postgres, at most."""
    executor_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that fit models."""

    meta_url: str = "https://graph.facebook.com"
    meta_version: str = "v26.0"
    meta_token: SecretStr | None = None
    """Opens the module's Meta accounts; unset reads none."""
    google_ads_url: str = "https://googleads.googleapis.com"
    google_ads_version: str = "v26"
    google_ads_refresh_token: SecretStr | None = None
    """Opens the module's Google Ads customers; unset reads none."""
    google_ads_client_id: str = ""
    google_ads_client_secret: SecretStr | None = None
    google_ads_developer_token: SecretStr | None = None
    google_ads_login_customer_id: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        for field, problem in super().check():
            # The module with stores of its own calls nobody, and signs nothing.
            if self.store == "core" or field != "service_key_file":
                yield field, problem
        if self.store == "module" and self.postgres_url is None:
            yield "postgres_url", "the module keeps its data there"
        if self.redis_url is None:
            yield "redis_url", "the module keeps answers there"


class MigrateSettings(CausalSettings):
    """Settings of `python -m liftos_causal migrate`, which needs the owner's Postgres alone."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        if self.postgres_owner_url is None:
            yield "postgres_owner_url", "the schema runner needs it"
