"""What a measured time depends on, to be saved beside it: the facts that `gdnet bench` saves too."""

from gdnet.bench.environment import blas, cpu_model, environment, gpu, memory_gib, versions

__all__ = ["blas", "cpu_model", "environment", "gpu", "memory_gib", "versions"]
