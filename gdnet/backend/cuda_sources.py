"""CUDA kernels as text: one pass over memory for what would be several.

Elementwise kernels are written as CuPy's `ElementwiseKernel` takes them: typed names in and out, and a C++ body for one
element. Plain text needs no GPU: the tests run every body through the host compiler against the agnostic rule, and
compile every source for every supported GPU. `T` is float or double; `-ftz` flushes numbers below 1e-38 to zero.
"""

from typing import NamedTuple


class Kernel(NamedTuple):
    """An elementwise kernel: `inputs` and `outputs` are "T x, T y"."""

    inputs: str
    outputs: str
    body: str


# -- activations: value y and derivative d of x together ---------------------------------------------------------------

ACTIVATIONS = {
    "Sigmoid": Kernel(
        "T x", "T y, T d", "T e = exp(-abs(x)); y = (x >= T(0) ? T(1) : e) / (T(1) + e); d = y * (T(1) - y)"
    ),
    "Tanh": Kernel("T x", "T y, T d", "y = tanh(x); d = T(1) - y * y"),
    "ReLU": Kernel("T x", "T y, T d", "y = x > T(0) ? x : T(0); d = x > T(0) ? T(1) : T(0)"),
    "LeakyReLU": Kernel("T x, T slope", "T y, T d", "d = x > T(0) ? T(1) : slope; y = d * x"),
    "ELU": Kernel(
        "T x, T alpha",
        "T y, T d",
        "T e = alpha * expm1(x < T(0) ? x : T(0)); y = x > T(0) ? x : e; d = x > T(0) ? T(1) : e + alpha",
    ),
    "SELU": Kernel(
        "T x",
        "T y, T d",
        """
        const T s = T(1.0507009873554805), a = T(1.6732632423543772);
        T e = a * expm1(x < T(0) ? x : T(0));
        y = s * (x > T(0) ? x : e);
        d = x > T(0) ? s : s * (e + a)""",
    ),
    "Softplus": Kernel(
        "T x", "T y, T d", "y = (x > T(0) ? x : T(0)) + log1p(exp(-abs(x))); d = -expm1(-y)"
    ),
    "GELU": Kernel(
        "T x",
        "T y, T d",
        """
        T c = T(0.5) * (T(1) + erf(x * T(0.7071067811865476)));
        y = x * c;
        d = c + x * T(0.3989422804014327) * exp(T(-0.5) * x * x)""",
    ),
    "SiLU": Kernel(
        "T x",
        "T y, T d",
        "T e = exp(-abs(x)); T s = (x >= T(0) ? T(1) : e) / (T(1) + e); y = x * s; d = s + y * (T(1) - s)",
    ),
    "HardTanh": Kernel(
        "T x", "T y, T d", "y = x < T(-1) ? T(-1) : (x > T(1) ? T(1) : x); d = abs(x) < T(1) ? T(1) : T(0)"
    ),
}  # fmt: skip

# -- optimizer updates: the whole parameter vector in one launch; lr and step are arrays of one element ----------------

_UNBIAS = "T t = T(step); T c1 = -expm1(t * log(beta1)); T c2 = -expm1(t * log(beta2));"

UPDATES = {
    "momentum_update": Kernel(
        "T g, T velocity, T theta, T lr, T momentum",
        "T theta1, T velocity1",
        "T v = momentum * velocity + g; theta1 = theta - lr * v; velocity1 = v",
    ),
    "nesterov_update": Kernel(
        "T g, T velocity, T theta, T lr, T momentum",
        "T theta1, T velocity1",
        "T v = momentum * velocity + g; theta1 = theta - lr * (momentum * v + g); velocity1 = v",
    ),
    "adagrad_update": Kernel(
        "T g, T square, T theta, T lr, int32 step, T lr_decay, T eps",
        "T theta1, T square1",
        """
        T s = square + g * g;
        theta1 = theta - (lr / (T(1) + (T(step) - T(1)) * lr_decay)) * (g / (sqrt(s) + eps));
        square1 = s""",
    ),
    "rmsprop_update": Kernel(
        "T g, T square, T theta, T lr, T alpha, T eps",
        "T theta1, T square1",
        "T s = alpha * square + (T(1) - alpha) * (g * g); theta1 = theta - lr * (g / (sqrt(s) + eps)); square1 = s",
    ),
    "adam_update": Kernel(
        "T g, T m, T v, T theta, T lr, int32 step, T beta1, T beta2, T eps",
        "T theta1, T m1, T v1",
        _UNBIAS
        + """
        T a = beta1 * m + (T(1) - beta1) * g;
        T b = beta2 * v + (T(1) - beta2) * (g * g);
        theta1 = theta - (lr / c1) * (a / (sqrt(b) / sqrt(c2) + eps));
        m1 = a; v1 = b""",
    ),
    "lion_update": Kernel(
        "T g, T m, T theta, T lr, T beta1, T beta2",
        "T theta1, T m1",
        """
        T c = beta1 * m + (T(1) - beta1) * g;
        theta1 = theta - lr * T((c > T(0)) - (c < T(0)));
        m1 = beta2 * m + (T(1) - beta2) * g""",
    ),
    "rprop_update": Kernel(
        "T g, T previous, T sizes, T theta, T shrink, T grow, T smallest, T largest",
        "T theta1, T previous1, T sizes1",
        """
        T turn = T((g > T(0)) - (g < T(0))) * T((previous > T(0)) - (previous < T(0)));
        T size = sizes * (turn > T(0) ? grow : (turn < T(0) ? shrink : T(1)));
        size = size < smallest ? smallest : (size > largest ? largest : size);
        T kept = turn < T(0) ? T(0) : g;
        theta1 = theta - T((kept > T(0)) - (kept < T(0))) * size;
        previous1 = kept; sizes1 = size""",
    ),
}

# -- random numbers: threefry-2x32 with 20 rounds, the twin of gdnet.backend.random -----------------------------------

DROPOUT_PREAMBLE = r"""
__device__ inline unsigned rotate_left(unsigned x, int r) { return (x << r) | (x >> (32 - r)); }
__device__ inline void threefry(unsigned k0, unsigned k1, unsigned &x0, unsigned &x1) {
  const unsigned ks[3] = {k0, k1, 0x1BD11BDAu ^ k0 ^ k1};
  const int r[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  x0 += k0; x1 += k1;
  for (int block = 0; block < 5; ++block) {
    for (int j = 0; j < 4; ++j) { x0 += x1; x1 = rotate_left(x1, r[block % 2][j]) ^ x0; }
    x0 += ks[(block + 1) % 3]; x1 += ks[(block + 2) % 3] + block + 1;
  }
}
"""

UNIFORM = Kernel(
    "int32 step, uint32 k0, uint32 k1, int32 half",
    "T u",
    """
    unsigned x0 = i < half ? i : i - half, x1 = step;
    threefry(k0, k1, x0, x1);
    u = T((i < half ? x0 : x1) >> 8) * T(5.9604644775390625e-08)""",
)

# -- softmax and cross-entropy: one warp a row, value and gradient in one pass -----------------------------------------

SOFTMAX_CROSS_ENTROPY = r"""
template <typename T> __device__ __forceinline__ T warp_max(T v) {
  for (int o = 16; o; o >>= 1) { T w = __shfl_xor_sync(0xffffffffu, v, o); v = v > w ? v : w; }
  return v;
}
template <typename T> __device__ __forceinline__ T warp_sum(T v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
// p = softmax(z), entropy = -sum t log p, dz = p sum(t) - t, for every row of z and t (rows x columns, C order)
template <typename T> __global__ void softmax_cross_entropy(
    const T* __restrict__ z, const T* __restrict__ t, T* __restrict__ p, T* __restrict__ dz, T* __restrict__ entropy,
    const int rows, const int columns) {
  const int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (row >= rows) return;
  const size_t start = (size_t)row * columns;
  T top = lane < columns ? z[start + lane] : z[start];
  for (int j = lane + 32; j < columns; j += 32) top = z[start + j] > top ? z[start + j] : top;
  top = warp_max(top);
  T norm = 0, total = 0, linear = 0;
  for (int j = lane; j < columns; j += 32) {
    const T shifted = z[start + j] - top, target = t[start + j];
    norm += exp(shifted); total += target; linear += target * shifted;
  }
  norm = warp_sum(norm); total = warp_sum(total); linear = warp_sum(linear);
  for (int j = lane; j < columns; j += 32) {
    const T q = exp(z[start + j] - top) / norm;
    p[start + j] = q; dz[start + j] = q * total - t[start + j];
  }
  if (lane == 0) entropy[row] = total * log(norm) - linear;
}
"""
