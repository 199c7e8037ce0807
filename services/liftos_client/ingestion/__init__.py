"""The client of Ingestion, which reads platforms and writes to Memory."""

from liftos_client.ingestion.alerts import AlertMethods
from liftos_client.ingestion.connections import ConnectionMethods
from liftos_client.ingestion.dead_letters import DeadLetterMethods
from liftos_client.ingestion.runs import RunMethods
from liftos_client.ingestion.schedules import ScheduleMethods
from liftos_client.ingestion.sources import SourceMethods
from liftos_client.ingestion.suspensions import SuspensionMethods


class IngestionClient(
    ConnectionMethods,
    SourceMethods,
    ScheduleMethods,
    RunMethods,
    DeadLetterMethods,
    AlertMethods,
    SuspensionMethods,
):
    """Every method of Ingestion's contract, with keyword arguments, as `MemoryClient` has them.

    Each write has a `request_id`, by default a new one, so that it is carried out once however
    often it had to be sent.
    """
