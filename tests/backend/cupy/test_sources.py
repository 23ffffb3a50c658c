"""Every elementwise CUDA body, run by the host compiler, equals the agnostic rule that it replaces."""

import ctypes
import inspect
import shutil
import subprocess

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Key, get_backend
from gdnet.backend.cupy.sources import (
    ACTIVATIONS,
    BIASED,
    LOSSES,
    SIGN,
    SOFTMAX_CROSS_ENTROPY,
    THREEFRY,
    UNIFORM,
    UPDATES,
    Kernel,
)
from gdnet.losses.base import ElementwiseLoss
from gdnet.losses.cross_entropy import softmax_cross_entropy
from gdnet.testing.cases_losses import LOSSES as LOSS_CASES

SHIM = """
#include <cmath>
#include <cstdlib>
#define __device__
using namespace std;
typedef {T} T; typedef int int32; typedef unsigned uint32;
"""
RTOL = {"float32": 3e-6, "float64": 1e-13}


def compiled(source: str, folder):
    """The C function `run` of this C++ source."""
    compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    assert compiler, "a host C++ compiler is needed to check the CUDA bodies"
    (folder / "k.cpp").write_text(source)
    options = ["-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *options, "k.cpp", "-o", "k.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "k.so")).run


def host_function(kernel: Kernel, dtype: str, folder, preamble=""):
    """The kernel's body in a loop over elements, compiled by the host compiler."""
    inputs, outputs = ([part.split() for part in text.split(", ")] for text in (kernel.inputs, kernel.outputs))
    names = [*inputs, *outputs]
    signature = ", ".join(f"{kind}* {name}_, int {name}_stride" for *_, kind, name in names)
    element = "".join(
        f"{kind}* {name} = {name}_;\n" if raw else f"{kind}& {name} = {name}_[i * {name}_stride];\n"
        for *raw, kind, name in names
    )
    shim = SHIM.replace("{T}", "float" if dtype == "float32" else "double")
    source = f'{shim}{preamble}\nextern "C" void run(int n, {signature}) {{\nfor (int i = 0; i < n; ++i) {{\n{element}'
    function = compiled(f"{source}{kernel.body};\n}}}}\n", folder)

    def run(n, *values):
        dtypes = {"T": dtype, "int32": "int32", "uint32": "uint32"}
        arrays = [np.atleast_1d(np.asarray(v, dtypes[kind])) for (kind, _), v in zip(inputs, values, strict=True)]
        results = [np.full(1 if raw else n, np.nan if kind == "T" else 0, dtypes[kind]) for *raw, kind, _ in outputs]
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_of_a_sum_with_a_bias(name, dtype, tmp_path):
    """One kernel against the two agnostic rules one after the other: z + b, then f and f' of it."""
    layer, backend, rng = getattr(gd, name)(), get_backend(), np.random.default_rng(3)
    z = (10.0 ** rng.integers(-3, 3, (60, 17)) * rng.standard_normal((60, 17))).astype(dtype)
    b = (3 * rng.standard_normal(17)).astype(dtype)
    z[:, 0], b[0] = np.linspace(-1e4, 1e4, 60), 0.5
    run = host_function(BIASED[f"bias_{name}"], dtype, tmp_path)
    y, d = run(z.size, z.ravel(), np.broadcast_to(b, z.shape).ravel(), *layer.config().values())
    x = (z + b).ravel()
    expected = layer.f(backend, x)
    assert np.max(np.abs(y - expected) / np.maximum(np.abs(x), 1)) < RTOL[dtype]
    assert np.max(np.abs(d - layer.df(backend, x, expected))) < RTOL[dtype] * 3


def test_every_smooth_activation_has_a_kernel():
    classes = {name: getattr(gd, name) for name in dir(gd) if inspect.isclass(getattr(gd, name))}
    rows = {name for name, kind in classes.items() if issubclass(kind, gd.Elementwise) and kind is not gd.Elementwise}
    assert rows - set(ACTIVATIONS) == {"Identity", "Step"}, "rows without work to fuse"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_slope(name, dtype, tmp_path):
    """Every row of the table of losses with this kernel, with one share for all and one for each."""
    run, rng = host_function(LOSSES[name], dtype, tmp_path), np.random.default_rng(1)
    for case in [case for case in LOSS_CASES if getattr(case.loss, "kernel", "") == name]:
        y, t = (np.asarray(a, dtype).reshape(-1) for a in case.draw(200))
        y[:6], t[:6] = [1e4, -1e4, 80, 0, 0.5, -2], t[6]
        for share in (1 / 200, rng.random(y.size).astype(dtype)):
            l, g = run(y.size, y, t, share, *case.loss.config().values())
            for found, exact in ((l, case.loss.l(np, y, t)), (g, case.loss.dl(np, y, t))):
                error = np.abs(found - share * exact) / np.maximum(np.abs(share * exact), share)
                assert np.max(error) < RTOL[dtype] * 3


def test_every_elementwise_loss_has_a_kernel():
    classes = [getattr(gd, name) for name in dir(gd)]
    rows = {c.__name__ for c in classes if inspect.isclass(c) and issubclass(c, ElementwiseLoss)}
    assert rows - {"ElementwiseLoss"} == set(LOSSES)


def test_sign(tmp_path):
    x = np.asarray([-2.5, -0.0, 0.0, 1e-30, np.nan, np.inf])
    np.testing.assert_array_equal(host_function(SIGN, "float64", tmp_path)(6, x)[0], np.sign(x))


WARPS = """
#include <barrier>
#include <thread>
#include <vector>
#define __global__
#define __forceinline__ inline
struct Index { int x; };
static thread_local Index threadIdx, blockIdx;
static const Index blockDim{64};
static std::barrier<> *meet[2];
static double shown[64];
template <typename V> V __shfl_xor_sync(unsigned mask, V v, int o) {  // every lane shows its value, then all look
  auto& warp = *meet[threadIdx.x / 32];
  shown[threadIdx.x] = v; warp.arrive_and_wait();
  V w = shown[threadIdx.x ^ o]; warp.arrive_and_wait();
  return w;
}
"""
LAUNCH = """
extern "C" void run(int blocks, T* z, L* t, T* shares, T* p, T* dz, T* entropy, T* totals, double share,
                    double smoothing, int rows, int columns, int rows_per_share) {
  for (int block = 0; block < blocks; ++block) {
    std::barrier<> a(32), b(32); meet[0] = &a; meet[1] = &b;
    std::vector<std::thread> threads;
    for (int k = 0; k < 64; ++k) threads.emplace_back([=] {
      threadIdx.x = k; blockIdx.x = block;
      softmax_cross_entropy<T, L>(
          z, t, shares, p, dz, entropy, totals, T(share), T(smoothing), rows, columns, rows_per_share);
    });
    for (auto& thread : threads) thread.join();
  }
}
"""


@pytest.mark.parametrize("targets", ["int32", "int64", "rows"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_cross_entropy_rows(dtype, targets, tmp_path):
    """The kernel itself, each lane a thread of the host: labels and rows, narrow and wide, shares, smoothing."""
    kind = {"int32": "int", "int64": "long long", "rows": "T"}[targets]
    shim = SHIM.replace("{T}", "float" if dtype == "float32" else "double") + f"typedef {kind} L;\n"
    run = compiled(f"{shim}{WARPS}{SOFTMAX_CROSS_ENTROPY}{LAUNCH}", tmp_path)
    rng, backend = np.random.default_rng(0), get_backend()

    def pointer(a):
        return None if a is None else a.ctypes.data_as(ctypes.c_void_p)

    for shape, smoothing, weighted in [((5, 10), 0.0, False), ((3, 70), 0.2, True), ((2, 3, 33), 0.1, True)]:
        z = (30 * rng.standard_normal(shape)).astype(dtype)
        labels = rng.integers(0, shape[-1], shape[:-1])
        t = rng.random(shape).astype(dtype) if targets == "rows" else labels.astype(targets)
        share = rng.random((shape[0], *([1] * (len(shape) - 1)))).astype(dtype) if weighted else 0.25
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        p, dz = np.full_like(z, np.nan), np.full_like(z, np.nan)
        entropy, total = (np.full((*shape[:-1], 1), np.nan, dtype) for _ in range(2))
        arrays = [pointer(a) for a in (z, t, share if weighted else None, p, dz, entropy, total)]
        numbers = ctypes.c_double(0.0 if weighted else share), ctypes.c_double(smoothing)
        run(-(-rows // 2), *arrays, *numbers, rows, columns, rows // shape[0])
        expected = softmax_cross_entropy(backend, z, t, smoothing, share, None)
        for found, exact in zip((p, dz, entropy, total), expected, strict=True):
            np.testing.assert_allclose(found, np.broadcast_to(exact, found.shape), rtol=RTOL[dtype] * 30,
                                       atol=RTOL[dtype])  # fmt: skip


RULES = {
    "sgd_update": gd.SGD, "nadam_update": gd.NAdam,
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
        found = run(501, *args)
        for i, result in enumerate(found):  # of one element in the state
            found[i] = result.reshape(()) if result.size == 1 else result
        return tuple(found)

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
        assert state.step == 10
        assert state.step.dtype == np.int32
        return np.stack(points)

    plain, fused = trajectory({}), trajectory({name: kernel})
    assert len(called) == 10
    np.testing.assert_allclose(fused, plain, rtol=0, atol=RTOL[dtype] * np.abs(plain).max())


@pytest.mark.parametrize("n", [1, 10, 1001])
def test_uniform_numbers_have_the_same_bits(n, tmp_path):
    key = Key(5, 17).child(1)
    words = np.random.SeedSequence(5, spawn_key=(1,)).generate_state(2, np.uint32)
    run = host_function(UNIFORM, "float32", tmp_path, THREEFRY)
    (u,) = run(n, 17, words[0], words[1], (n + 1) // 2)
    np.testing.assert_array_equal(u, key.uniform(get_backend("cpu"), (n,)))
