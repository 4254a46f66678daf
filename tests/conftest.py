"""Shared by all tests: fixed seeds, hypothesis profiles, and where the real recordings are."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Numba compiles on first use and machines are shared: a deadline would measure those.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state, whichever ran before."""
    random.seed(0)
    np.random.seed(0)
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real recordings (fsdd/, librispeech/, vctk/): VQSPEECH_TEST_DATA, else ../shared/data."""
    folder = Path(os.environ.get("VQSPEECH_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; name their folder in VQSPEECH_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def fsdd(real_data: Path) -> Path:
    """Folder of the Free Spoken Digit Dataset."""
    folder = real_data / "fsdd"
    if not (folder / "recordings").is_dir():
        pytest.skip(f"no FSDD at {folder}; name the folder above it in VQSPEECH_TEST_DATA")
    return folder
