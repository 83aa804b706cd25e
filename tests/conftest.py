"""What holds for every test: no property fails because the machine is busy, and each run tries the same examples."""

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
