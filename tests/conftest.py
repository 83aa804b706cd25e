"""What holds for every test: nothing reaches outside, no property fails because the machine is busy, and each run tries
the same examples.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test for which its data is missing has not passed, and is not skipped as if it had."""
    if item.get_closest_marker("data") and not SHARED.is_dir():
        pytest.fail(f"{SHARED} is not there, which this test reads: leave it out by -m 'not data'", pytrace=False)
