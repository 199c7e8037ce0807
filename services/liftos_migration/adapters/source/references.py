"""Names of variables that hold the addresses of sources, so that no contract holds a password.

The variables are those of the server and the worker: their operator says which org may name which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from liftos_kit.core.errors import InvalidFieldsError


@dataclass(frozen=True, slots=True)
class SourceReferences:
    """Where this process finds the addresses of sources.

    Attributes:
        environment: Its variables.
        granted_prefixes: (org id, prefix) of each prefix of variables that an org may name.
    """

    environment: Mapping[str, str] = field(repr=False)
    granted_prefixes: frozenset[tuple[str, str]]

    def url(self, org: str, reference: str, *, path: str) -> str:
        """Return the address that a variable holds.

        Args:
            org: Who asks.
            reference: Name of the variable.
            path: The field that names it, for the error.

        Raises:
            InvalidFieldsError: The org may not name it, or it is not set.
        """
        granted = any(
            org == grantee and reference.startswith(prefix)
            for grantee, prefix in self.granted_prefixes
        )
        if not granted:
            raise InvalidFieldsError.of(
                path,
                f"the organisation may not name the variable {reference}; its operator adds"
                f" {org}:{reference} to LIFTOS_SOURCE_ENVIRONMENT_PREFIXES of Migration's server"
                " and worker",
                rule="source.granted",
            )
        url = self.environment.get(reference, "")
        if not url:
            raise InvalidFieldsError.of(
                path,
                f"the variable {reference} is not set; set it to the address of the source where"
                " Migration's server and worker run",
                rule="source.set",
            )
        return url
