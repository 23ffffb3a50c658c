"""Whether CUDA can be used here, and if not, why not and what to do.

That CuPy imports proves nothing: it does so on a machine without a GPU. Each cause has its own code and remedy.
"""

import importlib.util
from typing import Any

from gdnet.errors import DeviceError, OptionError

MIN_COMPUTE_CAPABILITY = 70
TF32_COMPUTE_CAPABILITY = 80
_INSTALL = (
    'pip install "cupy-cuda13x[ctk]" (driver 580 or later) or "cupy-cuda12x[ctk]" (driver 525 or later), never both'
)


def require_cuda(index: int = 0) -> Any:
    """The `cupy` module if device `cuda:index` can compute, else a `DeviceError` whose `code` names the cause.

    Codes: `no-cupy`, `cupy-broken`, `no-driver`, `old-driver`, `no-device`, `old-gpu`, `no-toolkit`, `cuda-error`.

    >>> try:
    ...     xp = require_cuda(99)
    ... except DeviceError as error:
    ...     assert error.code in {"no-cupy", "cupy-broken", "no-driver", "old-driver", "no-device", "cuda-error"}
    """
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError("no-cupy", f"device 'cuda' needs CuPy, which is not installed: {_INSTALL}")
    try:
        import cupy as cp
    except Exception as error:
        raise DeviceError(
            "cupy-broken",
            f"CuPy is installed but does not import ({error}). Two CuPy wheels side by side, or one built for another "
            f"NumPy, are the usual causes: pip uninstall every cupy package, then {_INSTALL}",
        ) from error

    runtime = cp.cuda.runtime
    built, driver = runtime.runtimeGetVersion(), runtime.driverGetVersion()
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise _no_devices(error, driver, built) from error
    if index >= count:
        raise DeviceError(
            "no-device",
            f"device 'cuda:{index}' does not exist: this machine has {count} CUDA device(s), numbered from 0",
        )

    capability = int(cp.cuda.Device(index).compute_capability)
    try:
        from cupy.cuda import nvrtc

        needed = max(MIN_COMPUTE_CAPABILITY, min(nvrtc.getSupportedArchs()))
        if capability < needed:
            raise DeviceError(
                "old-gpu",
                f"cuda:{index} has compute capability {capability / 10}, and this CuPy with CUDA {built // 1000} needs "
                f'{needed / 10} or more: pip install "cupy-cuda12x[ctk]" for older GPUs, or use device="cpu"',
            )
        with cp.cuda.Device(index):  # elementwise kernel (NVRTC, headers), product (cuBLAS), reduction
            a = cp.ones((4, 4), cp.float32)
            float(((a * 2) @ a).sum())
    except DeviceError:
        raise
    except Exception as error:
        raise DeviceError(
            "no-toolkit",
            f"cuda:{index} is there, but CUDA's compiler or libraries are not ({error}): "
            f'pip install "cupy-cuda{built // 1000}x[ctk]"',
        ) from error
    return cp


def require_tensor_cores(device: Any) -> None:
    """An `OptionError` where this CUDA device cannot multiply in TF32."""
    capability = int(device.compute_capability)
    if capability < TF32_COMPUTE_CAPABILITY:
        raise OptionError(
            f'matmul_precision="tf32" needs tensor cores of compute capability {TF32_COMPUTE_CAPABILITY / 10} or '
            f'later, and cuda:{device.id} has {capability / 10}: use matmul_precision="highest"'
        )


def _no_devices(error: Any, driver: int, built: int) -> DeviceError:
    """CUDA answers status 35 both for "no driver" and for "driver too old"; the driver's version tells them apart."""
    if driver == 0:
        return DeviceError(
            "no-driver", "device 'cuda' needs an NVIDIA driver, and none is loaded: install one, or use device=\"cpu\""
        )
    if error.status == 35 or driver // 1000 < built // 1000:
        return DeviceError(
            "old-driver",
            f"the NVIDIA driver supports CUDA {driver // 1000}.{driver % 1000 // 10}, CuPy was built for CUDA "
            f'{built // 1000}: update the driver, or pip install "cupy-cuda{driver // 1000}x[ctk]"',
        )
    if error.status == 100:
        return DeviceError("no-device", "an NVIDIA driver is loaded but it finds no CUDA device on this machine")
    return DeviceError("cuda-error", f"CUDA could not be started: {error}")
