"""The configuration of each org as an artifact of Core."""

from collections.abc import Callable
from typing import Final

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from pydantic import TypeAdapter

from liftos.memory.v1.artifact_pb2 import ARTIFACT_KIND_CONFIGURATION, Artifact
from liftos_causal.adapters.core.refusals import translated
from liftos_causal.domain.records import Configuration
from liftos_client import OrgClients
from liftos_client.errors import EtagMismatchError, NotFoundError
from liftos_kit.core import errors
from liftos_kit.structs import plain

_CONFIGURATION: Final = TypeAdapter(Configuration)
_ID: Final = "causal.configuration"
_ATTEMPTS: Final = 10


class CoreConfigurations:
    """See `liftos_causal.ports.Configurations`."""

    def __init__(self, clients: OrgClients) -> None:
        self._clients = clients

    async def get(self, org: str) -> Configuration | None:
        """Return it."""
        return (await self._read(org))[0]

    async def change(
        self, org: str, change: Callable[[Configuration | None], Configuration]
    ) -> Configuration:
        """Keep what `change` makes of it."""
        for _ in range(_ATTEMPTS):
            before, etag = await self._read(org)
            changed = change(before)
            artifact = Artifact(
                name=f"orgs/{org}/artifacts/{_ID}",
                kind=ARTIFACT_KIND_CONFIGURATION,
                scope=_ID,
                display_name="Configuration of the Causal module",
                body=ParseDict(_CONFIGURATION.dump_python(changed, mode="json"), Struct()),
                etag=etag,
            )
            try:
                with translated("memory"):
                    await self._clients.of(org).memory.batch_upsert_artifacts(
                        [artifact], origin="causal"
                    )
            except EtagMismatchError:
                continue
            return changed
        raise errors.EtagMismatchError(f"orgs/{org}/causalConfiguration")

    async def _read(self, org: str) -> tuple[Configuration | None, str]:
        with translated("memory"):
            try:
                artifact = await self._clients.of(org).memory.get_artifact(_ID)
            except NotFoundError:
                return None, "0"
        return _CONFIGURATION.validate_python(plain(artifact.body)), artifact.etag
