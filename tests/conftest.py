"""What holds for every test: nothing reaches outside, no property fails because the machine is busy, and each run tries
the same examples.
"""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
