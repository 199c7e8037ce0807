"""How often Python looks for objects that refer to each other in circles."""

import gc
from typing import Final

_ALLOCATIONS: Final = 50_000
_COLLECTIONS: Final = 20


def collect_rarely() -> None:
    """Leave alone what is there by now, and look at the rest after every 50,000 objects.

    Messages and rows are many small objects that live for a moment and never make circles, and by
    default Python looks at those that live after every 700 more. To be called once a process has
    loaded its modules, which stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, _COLLECTIONS, _COLLECTIONS)
