"""The client of Migration, which moves a module's data to Core."""

from liftos_client.migration.migrations import MigrationMethods
from liftos_client.migration.plans import PlanMethods
from liftos_client.migration.rejects import RejectMethods
from liftos_client.migration.verifications import VerificationMethods


class MigrationClient(MigrationMethods, PlanMethods, VerificationMethods, RejectMethods):
    """The methods of Migration's contract, with keyword arguments, as `MemoryClient` has them.

    Each write has a `request_id`, by default a new one, so that it is carried out once however
    often it had to be sent.
    """
