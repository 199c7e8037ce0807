"""The faces by platform, imported only when one is asked for: Google's messages load slowly."""

from typing import assert_never

from liftos_platforms.simulation import Face, Simulation
from liftos_platforms.truth import Platform


def face_of(platform: Platform, simulation: Simulation) -> Face:
    """A platform's face on a simulation, not yet started."""
    match platform:
        case Platform.META:
            from liftos_platforms.meta.face import MetaFace  # noqa: PLC0415

            return MetaFace(simulation)
        case Platform.GOOGLE_ADS:
            from liftos_platforms.google_ads.face import GoogleAdsFace  # noqa: PLC0415

            return GoogleAdsFace(simulation)
        case Platform.KLAVIYO:
            from liftos_platforms.klaviyo.face import KlaviyoFace  # noqa: PLC0415

            return KlaviyoFace(simulation)
        case _:
            assert_never(platform)
