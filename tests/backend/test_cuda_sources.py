"""Every elementwise CUDA body, run by the host compiler, equals the agnostic rule that it replaces."""

import ctypes
import inspect
import shutil
import subprocess

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Key, get_backend
from gdnet.backend.cuda_sources import ACTIVATIONS, DROPOUT_PREAMBLE, UNIFORM, UPDATES, Kernel

SHIM = """
#include <cmath>
#include <cstdlib>
#define __device__
using namespace std;
typedef {T} T; typedef int int32; typedef unsigned uint32;
"""
RTOL = {"float32": 3e-6, "float64": 1e-13}


def host_function(kernel: Kernel, dtype: str, folder, preamble=""):
    """The kernel's body in a loop over elements, compiled by the host compiler."""
    inputs, outputs = ([part.split() for part in text.split(", ")] for text in (kernel.inputs, kernel.outputs))
    names = [*inputs, *outputs]
    signature = ", ".join(f"{kind}* {name}_, int {name}_stride" for kind, name in names)
    element = "".join(f"{kind}& {name} = {name}_[i * {name}_stride];\n" for kind, name in names)
    shim = SHIM.replace("{T}", "float" if dtype == "float32" else "double")
    source = f'{shim}{preamble}\nextern "C" void run(int n, {signature}) {{\nfor (int i = 0; i < n; ++i) {{\n{element}'
    (folder / "k.cpp").write_text(f"{source}{kernel.body};\n}}}}\n")
    compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    assert compiler, "a host C++ compiler is needed to check the CUDA bodies"
    command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "k.cpp", "-o", "k.so"]
    subprocess.run(command, cwd=folder, check=True)
    function = ctypes.CDLL(str(folder / "k.so")).run

    def run(n, *values):
        dtypes = {"T": dtype, "int32": "int32", "uint32": "uint32"}
        arrays = [np.atleast_1d(np.asarray(v, dtypes[kind])) for (kind, _), v in zip(inputs, values, strict=True)]
        results = [np.full(n, np.nan if kind == "T" else 0, dtypes[kind]) for kind, _ in outputs]
        arguments = [x for a in [*arrays, *results] for x in (a.ctypes.data_as(ctypes.c_void_p), int(a.size > 1))]
        function(n, *arguments)
        return results

    return run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_value_and_derivative(name, dtype, tmp_path):
    layer = getattr(gd, name)()
    edge = [-1e4, -100, -20, -1, -0.5, 0.25, 1e-4, 1.0, 20, 100, 1e4]
    x = np.concatenate([np.linspace(-8.01, 8, 1001), edge]).astype(dtype)
    y, d = host_function(ACTIVATIONS[name], dtype, tmp_path)(x.size, x, *layer.config().values())
    backend = get_backend()
    expected = layer.f(backend, x)
    scale = np.maximum(np.abs(x), 1)
    assert np.max(np.abs(y - expected) / scale) < RTOL[dtype]
    assert np.max(np.abs(d - layer.df(backend, x, expected))) < RTOL[dtype] * 3


def test_every_smooth_activation_has_a_kernel():
    classes = {name: getattr(gd, name) for name in dir(gd) if inspect.isclass(getattr(gd, name))}
    rows = {name for name, kind in classes.items() if issubclass(kind, gd.Elementwise) and kind is not gd.Elementwise}
    assert rows - set(ACTIVATIONS) == {"Identity", "Step"}, "rows without work to fuse"


RULES = {
    "momentum_update": gd.Momentum, "nesterov_update": gd.Nesterov, "adagrad_update": gd.AdaGrad,
    "rmsprop_update": gd.RMSProp, "adam_update": gd.Adam, "lion_update": gd.Lion, "rprop_update": gd.Rprop,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UPDATES)
def test_optimizer_update(name, dtype, tmp_path):
    """Run the rule with its update replaced by the kernel, and without, for ten steps."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(501).astype(dtype)
    gradients = [rng.standard_normal(501).astype(dtype) * 10.0 ** rng.integers(-4, 3) for _ in range(10)]
    run, called = host_function(UPDATES[name], dtype, tmp_path), []

    def kernel(backend, *args):
        called.append(name)
        return tuple(run(501, *args))

    def trajectory(kernels):
        rule, point, points = RULES[name](), theta, []
        backend = get_backend()
        kept, backend.kernels = backend.kernels, kernels
        try:
            state = rule.init(point)
            for g in gradients:
                point, state = rule.apply(g, state, point)
                points.append(point)
        finally:
            backend.kernels = kept
        return np.stack(points)

    plain, fused = trajectory({}), trajectory({name: kernel})
    assert len(called) == 10
    np.testing.assert_allclose(fused, plain, rtol=0, atol=RTOL[dtype] * np.abs(plain).max())


@pytest.mark.parametrize("n", [1, 10, 1001])
def test_uniform_numbers_have_the_same_bits(n, tmp_path):
    key = Key(5, 17).child(1)
    words = np.random.SeedSequence(5, spawn_key=(1,)).generate_state(2, np.uint32)
    run = host_function(UNIFORM, "float32", tmp_path, DROPOUT_PREAMBLE)
    (u,) = run(n, 17, words[0], words[1], (n + 1) // 2)
    np.testing.assert_array_equal(u, key.uniform(get_backend("cpu"), (n,)))
