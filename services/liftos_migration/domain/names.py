"""Names of what a person speaks of."""

from typing import Final

from liftos_kit.core.names import Pattern

MIGRATION_NAME: Final = Pattern("orgs/{org}/migrations/{migration}")
STEP_NAME: Final = Pattern("orgs/{org}/migrations/{migration}/steps/{step}")
DECISION_NAME: Final = Pattern("orgs/{org}/migrations/{migration}/decisions/{decision}")
SNAPSHOT_NAME: Final = Pattern("orgs/{org}/migrations/{migration}/snapshots/{snapshot}")
VERIFICATION_NAME: Final = Pattern("orgs/{org}/migrations/{migration}/verifications/{verification}")
REJECT_NAME: Final = Pattern("orgs/{org}/migrations/{migration}/rejects/{reject}")


def migration_name(org: str, migration: str) -> str:
    """Return the name of a migration."""
    return MIGRATION_NAME.format(org=org, migration=migration)


def migration_id(name: str, *, field: str) -> str:
    """Return the id in the name of a migration.

    Raises:
        InvalidFieldsError: It is no such name.
    """
    return MIGRATION_NAME.parse(name, field=field)["migration"]
