"""Settings of the property tests."""

from hypothesis import settings

# A machine that many share may take long over what is quick.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
