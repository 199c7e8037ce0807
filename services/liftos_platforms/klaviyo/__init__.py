"""Klaviyo's API, revision 2026-10-15, over the simulated truth."""

from liftos_platforms.klaviyo.face import KlaviyoFace

__all__ = ["KlaviyoFace"]
