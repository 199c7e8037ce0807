"""A sender of alerts for tests, to be killed: it takes its settings from its environment."""

import asyncio

from liftos_ingestion.adapters.postgres.alerts import PostgresAlertOutbox
from liftos_ingestion.adapters.postgres.database import SCHEMA
from liftos_ingestion.domain.names import ALERTS
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.usecases.alert_messages import message_of
from liftos_kit import postgres
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.sender import Sender
from liftos_kit.notify.targets import TargetVault
from liftos_kit.settings import load


async def main() -> None:
    """Send until killed."""
    settings = load(IngestionSettings)
    assert settings.postgres_url is not None
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="alert sender",
        minimum=1,
        maximum=2,
        schema=SCHEMA,
    )
    sender = Sender(
        ALERTS,
        PostgresAlertOutbox(pool),
        TargetVault(settings.keyring()),
        apprise_notifier(settings),
        message_of=message_of,
        send_seconds=settings.notification_timeout_seconds,
    )
    await sender.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
