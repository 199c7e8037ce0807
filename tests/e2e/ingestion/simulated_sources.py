"""The connectors, pointed at simulated platforms, with a credential of one account each."""

from secrets import token_hex

from tests.e2e.ingestion.platform_worker import FixedConnection, WorldClock, described

from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.source_ports import JsonObject, PlatformSource
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.klaviyo import KlaviyoFace
from liftos_platforms.meta import MetaFace
from liftos_platforms.simulation import Face, Simulation
from liftos_platforms.testing import HOST, Platforms
from liftos_platforms.truth import Platform

ACCOUNTS = {
    Platform.META: "1001",
    Platform.GOOGLE_ADS: "1112223331",
    Platform.KLAVIYO: "KLvEU1",
}
TIMEOUT_SECONDS = 0.5


def face_of(platform: Platform, simulation: Simulation) -> Face:
    """A platform whose streams have several messages."""
    match platform:
        case Platform.META:
            return MetaFace(simulation)
        case Platform.GOOGLE_ADS:
            return GoogleAdsFace(simulation, page_rows=4)
        case Platform.KLAVIYO:
            return KlaviyoFace(simulation)


def source_of(platform: Platform, face: Face, simulation: Simulation) -> PlatformSource:
    """The connector, pointed at a simulated platform."""
    address = f"{HOST}:{face.port}"
    match platform:
        case Platform.META:
            clock = WorldClock(simulation.clock)
            return MetaSource(
                f"http://{address}", version="v26.0", timeout_seconds=TIMEOUT_SECONDS, clock=clock
            )
        case Platform.GOOGLE_ADS:
            assert isinstance(face, GoogleAdsFace)
            token_url = f"http://{HOST}:{face.rest_port}/token"
            return GoogleAdsSource(
                address, plaintext=True, token_url=token_url, timeout_seconds=TIMEOUT_SECONDS
            )
        case Platform.KLAVIYO:
            return KlaviyoSource(
                f"http://{address}", revision="2026-10-15", timeout_seconds=TIMEOUT_SECONDS
            )


def connection_of(platforms: Platforms, platform: Platform) -> FixedConnection:
    """A connection with one account."""
    account_id = ACCOUNTS[platform]
    token = platforms.token(platform, "" if platform is Platform.GOOGLE_ADS else account_id)
    settings: JsonObject = {}
    match platform:
        case Platform.META:
            credential = {"access_token": token}
        case Platform.GOOGLE_ADS:
            credential = {
                "client_id": "123456789012-web.apps.googleusercontent.com",
                # Who has the same client shares its limits, and each world is another one.
                "client_secret": f"GOCSPX-{token_hex(8)}",
                "refresh_token": token,
            }
            settings = {"access_level": "basic", "login_customer_id": "900-000-0001"}
        case Platform.KLAVIYO:
            credential = {"api_key": token}
    account = described(platforms.simulation.account(platform, account_id))
    return FixedConnection(platform.value, [account], credential, settings)
