"""Every CUDA source compiles for every supported GPU, as CuPy would compile it, without a GPU.

It needs CuPy and NVIDIA's compiler library (the extra `kernel-check`), no driver. CuPy's private functions are used in
this file alone.
"""

import importlib.util

import numpy as np
import pytest

from gdnet.backend.cupy.sources import ACTIVATIONS, BIASED, LOSSES, SOFTMAX_CROSS_ENTROPY, UPDATES

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
NAMES = [*ACTIVATIONS, *BIASED, *LOSSES, *UPDATES, "uniform", "sign"]
BROADCAST = {"b", "lr", "step", "product", "share"}
"""Arrays with one element, or one row, for all elements."""


@pytest.fixture(scope="module")
def cupy(request):
    if importlib.util.find_spec("cupy") is None:
        require = request.config.getoption("--require-all")
        (pytest.fail if require else pytest.skip)('needs the extra kernel-check: pip install -e ".[kernel-check]"')
    import cupy

    return cupy


def compile_source(source, architecture, headers=True, options=(), names=None):
    """The compiled code, by the path that CuPy takes once it knows the GPU."""
    from cupy._core import core
    from cupy.cuda import compiler

    head = "".join(f"#include <{name}>\n" for name in core._cupy_header_list) if headers else ""
    flags = ("-ftz=true", "--device-as-default-execution-space", f"-arch=sm_{architecture}")
    everything = core.assemble_cupy_compiler_options(tuple(options)) + flags
    program = compiler._NVRTCProgram(head + source, "gdnet.cu", name_expressions=names, method="cubin")
    return program.compile(everything)[0]


def elementwise_source(kernel, dtype):
    """The CUDA source that CuPy makes of an elementwise kernel for arrays of this dtype."""
    import cupy
    from cupy._core import _carray, _kernel, _scalar

    kinds = {"T": np.dtype(dtype), "int32": np.dtype("int32"), "uint32": np.dtype("uint32")}
    arrays = {"x", "y", "z", "t", "g", "m", "v", "theta", "velocity", "square", "previous", "sizes"} | BROADCAST
    axes = 2 if "z" in {p.name for p in kernel.in_params} else 1
    types = [kinds.get(p.ctype, kinds["T"]) if p.dtype is None else np.dtype(p.dtype) for p in kernel.params]
    n_in = len(kernel.in_params)
    _, _, type_map = kernel._decide_params_type(
        tuple(t if p.name in arrays else None for p, t in zip(kernel.in_params, types[:n_in], strict=True)),
        tuple(types[n_in : n_in + len(kernel.out_params)]),
    )
    infos = [
        _kernel._ArgInfo(1, cupy.ndarray, t, axes, p.name not in BROADCAST, True)
        if i >= n_in or p.name in arrays
        else _kernel._ArgInfo(3, _scalar.CScalar, t, 0, True, True)
        for i, (p, t) in enumerate(zip((*kernel.in_params, *kernel.out_params), types, strict=False))
    ]
    infos.append(_kernel._ArgInfo(2, _carray.Indexer, None, axes, True, True))
    return _kernel._get_elementwise_kernel_code(
        tuple(infos), type_map, kernel.params, kernel.operation, kernel.name, kernel.preamble, **kernel.kwargs
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_row_kernel_compiles(cupy, architecture):
    pairs = [("float", "float"), ("double", "double"), ("float", "int"), ("float", "long long"), ("double", "int")]
    names = tuple(f"softmax_cross_entropy<{number}, {target}>" for number, target in pairs)
    options = ("-std=c++17",)
    assert compile_source(SOFTMAX_CROSS_ENTROPY, architecture, headers=False, options=options, names=names)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_elementwise_kernels_compile(cupy, architecture, dtype):
    """All of them in one source: CuPy's headers take longer to compile than the kernels."""
    from gdnet.backend.cupy.kernels import ELEMENTWISE, elementwise

    assert set(NAMES) == set(ELEMENTWISE)
    together = "".join(elementwise_source(elementwise(name), dtype) for name in NAMES)
    code = compile_source(together, architecture)
    assert all(f"gdnet_{name}".encode() in code for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_elementwise_kernel_compiles_alone(cupy, name):
    """As CuPy compiles it, and so that a failure names the kernel."""
    from gdnet.backend.cupy.kernels import elementwise

    assert compile_source(elementwise_source(elementwise(name), "float32"), 90)


def test_a_wrong_source_is_found(cupy):
    from cupy.cuda.compiler import CompileException

    with pytest.raises(CompileException, match="undefined_name"):
        compile_source('extern "C" __global__ void f(float* x) { x[0] = undefined_name; }', 90, headers=False)
