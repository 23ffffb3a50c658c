"""Each way in which CUDA can be unavailable has its own message. CuPy is played by a stand-in."""

import importlib.util
import sys
import types

import pytest

from gdnet.backend.cupy.detect import require_cuda
from gdnet.errors import DeviceError


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


def fake_cupy(driver=13000, built=13000, count=1, status=None, capability="90", kernel_error=None, archs=(75, 90, 120)):
    """A module that answers as CuPy does on a machine of this kind."""

    class Runtime:
        CUDARuntimeError = CUDARuntimeError
        runtimeGetVersion = staticmethod(lambda: built)
        driverGetVersion = staticmethod(lambda: driver)

        @staticmethod
        def getDeviceCount():
            if status is not None:
                raise CUDARuntimeError(status)
            return count

    class Device:
        def __init__(self, index):
            self.compute_capability = capability

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            return False

    class Ones:
        def __mul__(self, other):
            if kernel_error:
                raise kernel_error
            return self

        def __matmul__(self, other):
            return self

        def sum(self):
            return 32.0

    cupy = types.ModuleType("cupy")
    cuda = types.ModuleType("cupy.cuda")
    nvrtc = types.ModuleType("cupy.cuda.nvrtc")
    nvrtc.getSupportedArchs = lambda: list(archs)
    cuda.runtime, cuda.Device, cuda.nvrtc = Runtime, Device, nvrtc
    cupy.cuda, cupy.float32, cupy.ones = cuda, "float32", lambda shape, dtype: Ones()
    return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.nvrtc": nvrtc}


@pytest.fixture
def machine(monkeypatch):
    def install(**options):
        modules = fake_cupy(**options)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        return modules["cupy"]

    return install


@pytest.mark.parametrize(
    ("options", "index", "code", "remedy"),
    [
        ({"driver": 0, "status": 35}, 0, "no-driver", "install one"),
        ({"driver": 12040, "status": 35}, 0, "old-driver", "supports CUDA 12.4.*cupy-cuda12x"),
        ({"driver": 12040, "status": 3}, 0, "old-driver", "update the driver"),
        ({"status": 100}, 0, "no-device", "no CUDA device"),
        ({"status": 999}, 0, "cuda-error", "status 999"),
        ({"count": 1}, 1, "no-device", "cuda:1.*1 CUDA device"),
        ({"count": 0}, 0, "no-device", "0 CUDA device"),
        ({"capability": "61"}, 0, "old-gpu", "6.1.*7.5.*cuda12"),
        ({"capability": "60", "archs": (50, 60, 90)}, 0, "old-gpu", "6.0.*7.0"),
        ({"kernel_error": RuntimeError("libnvrtc.so not found")}, 0, "no-toolkit", "cupy-cuda13x\\[ctk\\]"),
    ],
)
def test_each_cause_has_its_message(machine, options, index, code, remedy):
    machine(**options)
    with pytest.raises(DeviceError, match=remedy) as error:
        require_cuda(index)
    assert error.value.code == code


def test_a_good_machine_passes(machine):
    cupy = machine()
    assert require_cuda(0) is cupy


def test_no_cupy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"cupy-cuda13x\[ctk\]") as error:
        require_cuda()
    assert error.value.code == "no-cupy"


def test_broken_cupy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "cupy", None)  # import raises ImportError
    with pytest.raises(DeviceError, match="uninstall") as error:
        require_cuda()
    assert error.value.code == "cupy-broken"
