"""Settings of the property tests."""

from hypothesis import settings

# The first call of an Arrow kernel loads it, which takes as long as a hundred later ones.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
