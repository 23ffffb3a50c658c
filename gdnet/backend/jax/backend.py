"""JAX arrays: immutable, and fast once a whole step is compiled."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np

from gdnet.backend.base import Array, Backend
from gdnet.backend.jax.cut import whole
from gdnet.backend.jax.segments import CutStep, watched
from gdnet.backend.out_of_memory import bytes_in


class JaxBackend(Backend):
    """JAX arrays on one device. `compile` is `jax.jit`, with long vectors cut where buffers are donated."""

    name = "jax"
    mutable = False
    how_to_get_float64 = (
        "float64 is switched off in this JAX. Set the environment variable JAX_ENABLE_X64=1 "
        '(or jax.config.update("jax_enable_x64", True)) before the first array, or'
    )
    instead_of_tf32 = ': for JAX, set jax_default_matmul_precision="tensorfloat32" yourself'
    kernels: ClassVar[dict[str, Callable]] = {
        "triangular_solution": lambda backend, T, b, lower: jax.scipy.linalg.solve_triangular(T, b, lower=lower)
    }

    def __init__(self, device: Any = None) -> None:
        super().__init__(jnp, device if device is not None else jax.devices("cpu")[0])

    @property
    def place(self) -> str:
        return "cpu" if self.device.platform == "cpu" else f"cuda:{self.device.id}"

    def dtype(self, name: str) -> Any:
        return jnp.dtype(name)

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        return jax.device_put(np.asarray(host, dtype=dtype), self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def whole(self, array: Array) -> Array:
        return whole(array)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if self.device.platform == "cpu":
            return a @ b
        return jnp.matmul(a, b, precision="highest")  # the default there is TF32

    def joined(self, parts: Sequence[Array]) -> Array:
        # Written part by part: into a concatenation XLA fuses what computes the parts, and repeats a sum over the
        # examples for every element that it gives.
        size = sum(part.shape[-1] for part in parts)
        vector, start = jnp.zeros((*parts[0].shape[:-1], size), parts[0].dtype), 0
        for part in parts:
            vector = jax.lax.dynamic_update_slice_in_dim(vector, part, start, axis=-1)
            start += part.shape[-1]
        return vector

    def erf(self, x: Array) -> Array:
        return jax.scipy.special.erf(x)

    def bytes_refused(self, error: BaseException) -> int | None:
        return bytes_in(str(error)) if "RESOURCE_EXHAUSTED" in str(error) else None

    def memory(self) -> tuple[int, int]:
        found = self.device.memory_stats() or {}
        used = found.get("bytes_in_use", 0)
        return used, max(found.get("bytes_limit", 0) - used, 0)

    def synchronize(self) -> None:
        jax.effects_barrier()
        jax.device_put(0.0, self.device).block_until_ready()

    def compile(self, step: Callable, donate: Sequence[int] = (), strict: bool = False) -> Callable:
        # Cut vectors are measured on CPUs alone; on a GPU every part costs launches.
        if donate and self.device.platform == "cpu":
            return CutStep(step, donate)
        return jax.jit(watched(step), donate_argnums=tuple(donate))
