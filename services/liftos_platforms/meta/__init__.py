"""Meta's Graph API v26.0, as far as reading advertising accounts needs it.

What is assumed and not documented: a disabled account refuses its edges with code 200, and a
field of a lower level than the report's is refused with code 100.
"""

from liftos_platforms.meta.face import MetaFace
from liftos_platforms.meta.usage import MetaLimits

__all__ = ["MetaFace", "MetaLimits"]
