"""Where the MNIST files are: `GDNET_DATA`, or `../shared/data` beside the repository."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_folder():
    """The folder with the four official IDX files; tests that need them are skipped where there is none."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    places = [Path(p) for p in (os.environ.get("GDNET_DATA"), beside) if p]
    for folder in [p for place in places for p in (place / "mnist", place)]:
        if (folder / "train-images-idx3-ubyte.gz").is_file():
            return folder
    pytest.skip(f"the MNIST files are neither in GDNET_DATA nor in {beside / 'mnist'}")
