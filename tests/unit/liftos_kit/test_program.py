"""What a program imports for good is no garbage."""

import gc

from liftos_kit.program import lasting_imports


def test_what_is_imported_is_not_looked_through_again() -> None:
    """Garbage is looked for after it, and not among what was there before."""
    with lasting_imports():
        lasting: list[object] = []
        lasting.append(lasting)
        assert not gc.isenabled()
    assert gc.isenabled()
    assert not any(each is lasting for each in gc.get_objects())
