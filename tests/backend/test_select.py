"""From names and arrays to backends, and the errors on the way."""

import importlib
import pickle
import re
from pathlib import Path

import array_api_strict
import numpy as np
import pytest

from gdnet.backend import backend_of, get_backend, select
from gdnet.errors import ArrayError, DeviceError


def test_the_default_is_numpy():
    assert get_backend("cpu").name == "numpy"
    assert get_backend("cpu", np) is get_backend("cpu", "numpy") is get_backend("cpu")


def test_arrays_lead_back_to_their_backend(bk):
    if bk.name == "numpy-readonly":
        assert backend_of(bk.put([1.0])).name == "numpy"
    else:
        assert backend_of(bk.put([1.0]), bk.put([2.0])) is bk.backend


def test_round_trip_keeps_values_and_dtype(bk):
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    for array in (host, host.T, np.float32(3.0)):
        back = bk.get(bk.put(array))
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("device", "backend", "code", "says"),
    [
        ("gpu", None, "unknown-device", "'cuda'|\"cuda\""),
        ("cuda:x", None, "unknown-device", "cuda:N"),
        (0, None, "unknown-device", "got 0"),
        ("cpu", "tensorflow", "unknown-backend", "tensorflow"),
        ("cpu", 3, "unknown-backend", "got 3"),
        ("cpu", pytest, "unknown-backend", "array API namespace"),
        ("cpu", "cupy", "wrong-device", "CUDA"),
        ("cuda", "numpy", "wrong-device", "cpu"),
    ],
)
def test_unknown_names_are_refused(device, backend, code, says):
    with pytest.raises(DeviceError, match=says) as error:
        get_backend(device, backend)
    assert error.value.code == code


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_cuda_of_another_library_without_a_gpu(backend):
    pytest.importorskip(backend)
    with pytest.raises(DeviceError, match="CUDA device"):
        get_backend("cuda:7", backend)


def test_arrays_of_two_libraries_are_refused_by_name():
    strict = array_api_strict.zeros(3)
    with pytest.raises(ArrayError, match=r"theta is a numpy array .* x a array_api_strict array"):
        backend_of(np.zeros(3), strict, names=("theta", "x"))


def test_arrays_of_two_devices_are_refused():
    a = array_api_strict.zeros(3)
    b = array_api_strict.zeros(3, device=array_api_strict.Device("device1"))
    with pytest.raises(ArrayError, match="never copies"):
        backend_of(a, b)


def test_a_library_is_known_by_its_namespace(bk):
    """`backend=jax.numpy` is JAX, not NumPy, though its name ends so."""
    if bk.name in ("torch", "jax", "numpy"):
        namespace = {"torch": "torch", "jax": "jax.numpy", "numpy": "numpy"}[bk.name]
        assert get_backend("cpu", importlib.import_module(namespace)) is bk.backend
    if bk.name in ("torch", "numpy"):
        assert get_backend("cpu", importlib.import_module(f"array_api_compat.{bk.name}")) is bk.backend


def test_backends_are_pickled_by_their_names(bk):
    if bk.name not in ("numpy-readonly", "strict-device1", "strict-no-host-reads"):
        assert pickle.loads(pickle.dumps(bk.backend)) is bk.backend


def test_no_file_outside_a_room_names_its_library():
    top = Path(select.__file__).parent
    named = re.compile(r"cupy|torch|jax", re.IGNORECASE)
    assert not [path.name for path in top.glob("*.py") if named.search(path.read_text(encoding="utf-8"))]
    rooms = {folder.name for folder in top.iterdir() if (folder / "__init__.py").exists()}
    assert rooms == {"cupy", "jax", "numpy", "torch"}
    for room in rooms:  # a room imports what all share, never another room
        others = "|".join(rooms - {room})
        for path in (top / room).rglob("*.py"):
            assert not re.search(rf"from gdnet\.backend\.({others})\b", path.read_text(encoding="utf-8")), path


def test_a_table_is_refused_with_the_way_to_make_arrays_of_it():
    class Frame:
        def to_numpy(self):
            return np.zeros((2, 1))

    with pytest.raises(ArrayError, match=r"got Frame: give its numbers, .*gd\.data\.read_table"):
        backend_of(Frame())


@pytest.mark.parametrize("thing", [[1.0, 2.0], 3.0, None, "x"])
def test_what_is_no_array_is_refused(thing):
    with pytest.raises(ArrayError, match="must be an array"):
        backend_of(thing)
