"""The configuration of each org in the module's own Postgres."""

from collections.abc import Callable
from typing import Final

import asyncpg
from pydantic import TypeAdapter

from liftos_causal.domain.mix_model import Parameters, Prior
from liftos_causal.domain.records import Configuration, ModelType, Origin
from liftos_causal.domain.validation import ValidationMethod
from liftos_kit import postgres

_PARAMETERS: Final = TypeAdapter(Parameters)
_ORIGINS: Final = TypeAdapter(tuple[Origin, ...])


class ModuleConfigurations:
    """See `liftos_causal.ports.Configurations`; priors are a table of their own."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(self, org: str) -> Configuration | None:
        """Return it."""
        async with postgres.transaction(
            self._pool, org=None, read_only=True, isolation="repeatable read"
        ) as connection:
            return await _configuration(connection, org)

    async def change(
        self, org: str, change: Callable[[Configuration | None], Configuration]
    ) -> Configuration:
        """Keep what `change` makes of it."""
        async with postgres.transaction(self._pool, org=None) as connection:
            # There may be no row to lock yet.
            await connection.execute(
                "select pg_advisory_xact_lock(hashtextextended('settings ' || $1, 0))", org
            )
            changed = change(await _configuration(connection, org))
            parameters = _PARAMETERS.dump_python(changed.parameters, mode="json")
            priors = parameters.pop("priors")
            await connection.execute(
                """/* store_settings */
                insert into model_settings (org_id, settings, version, updated_at)
                values ($1, $2, $3, $4)
                on conflict (org_id) do update
                set settings = excluded.settings, version = excluded.version,
                    updated_at = excluded.updated_at
                """,
                org,
                {
                    **changed.extra,
                    "default_parameters": parameters,
                    "default_model": changed.model_type.value,
                    "validation": changed.validation_method.value,
                    "platforms": list(changed.platforms),
                    "cache_ttl": changed.cache_seconds,
                    "requests": _ORIGINS.dump_python(changed.requests, mode="json"),
                },
                changed.version,
                changed.update_time,
            )
            await connection.execute("delete from prior_beliefs where org_id = $1", org)
            await connection.executemany(
                "insert into prior_beliefs (org_id, channel, mean, standard_deviation)"
                " values ($1, $2, $3, $4)",
                [
                    (org, channel, prior["mean"], prior["standard_deviation"])
                    for channel, prior in (priors or {}).items()
                ],
            )
        return changed


_SETTINGS: Final = frozenset(
    ("default_parameters", "default_model", "validation", "platforms", "cache_ttl", "requests")
)


async def _configuration(connection: asyncpg.Connection, org: str) -> Configuration | None:
    row = await connection.fetchrow("select * from model_settings where org_id = $1", org)
    if row is None:
        return None
    priors = await connection.fetch(
        "select channel, mean, standard_deviation from prior_beliefs where org_id = $1", org
    )
    settings = row["settings"]
    parameters = dict(settings["default_parameters"]) | {
        "priors": {
            each["channel"]: Prior(each["mean"], each["standard_deviation"]) for each in priors
        }
        or None
    }
    return Configuration(
        parameters=_PARAMETERS.validate_python(parameters),
        model_type=ModelType(settings["default_model"]),
        validation_method=ValidationMethod(settings["validation"]),
        platforms=tuple(settings["platforms"]),
        cache_seconds=settings["cache_ttl"],
        requests=_ORIGINS.validate_python(settings["requests"]),
        extra={name: value for name, value in settings.items() if name not in _SETTINGS},
        version=row["version"],
        update_time=row["updated_at"],
    )
