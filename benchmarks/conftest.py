"""Benchmarks run on one BLAS thread unless told otherwise, and save what they ran on beside their times."""

import os
import sys
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy is imported
sys.path.insert(0, str(Path(__file__).parent.parent))  # `benchmarks` is no installed package


def pytest_benchmark_update_machine_info(config, machine_info):
    from gdnet.bench.environment import environment

    machine_info["gdnet"] = environment()
