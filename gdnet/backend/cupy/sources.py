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

BIASED = {
    f"bias_{name}": Kernel(k.inputs.replace("T x", "T z, T b"), k.outputs, f"const T x = z + b; {k.body}")
    for name, k in ACTIVATIONS.items()
}
"""The same of x = z + b, for the bias b of the layer before: one row of `b` goes with every row of `z`."""

# -- losses: share times the loss l and its slope g by the prediction y, together -------------------------------------

LOSSES = {
    "SquaredError": Kernel(
        "T y, T t, T share", "T l, T g", "T e = y - t; l = share * (e * e); g = share * (T(2) * e)"
    ),
    "AbsoluteError": Kernel(
        "T y, T t, T share",
        "T l, T g",
        "T e = y - t; l = share * abs(e); g = share * (e > T(0) ? T(1) : (e < T(0) ? T(-1) : e))",
    ),
    "Huber": Kernel(
        "T y, T t, T share, T delta",
        "T l, T g",
        """
        T e = y - t, a = abs(e), near = a < delta ? a : delta;
        l = share * (near * (a - T(0.5) * near));
        g = share * (e < -delta ? -delta : (e > delta ? delta : e))""",
    ),
    "LogCosh": Kernel(
        "T y, T t, T share",
        "T l, T g",
        """
        T e = y - t, a = abs(e), s = sinh(T(0.5) * (a < T(1) ? a : T(1)));
        l = share * (a < T(1) ? log1p(T(2) * s * s) : a + log1p(exp(T(-2) * a)) - T(0.6931471805599453));
        g = share * tanh(e)""",
    ),
    "BinaryCrossEntropy": Kernel(
        "T y, T t, T share, T label_smoothing",
        "T l, T g",
        """
        T q = (T(1) - label_smoothing) * t + T(0.5) * label_smoothing, e = exp(-abs(y));
        l = share * ((y > T(0) ? y : T(0)) - q * y + log1p(e));
        g = share * ((y >= T(0) ? T(1) : e) / (T(1) + e) - q)""",
    ),
    "Hinge": Kernel(
        "T y, T t, T share",
        "T l, T g",
        "T m = T(1) - t * y; l = share * (m < T(0) ? T(0) : m); g = share * (t * y < T(1) ? -t : T(0))",
    ),
    "Poisson": Kernel(
        "T y, T t, T share",
        "T l, T g",
        """
        T low = y > T(60) ? T(60) : y, rate = exp(low);
        l = share * (rate - t * low + (rate - t) * (y - low));
        g = share * (rate - t)""",
    ),
}  # fmt: skip

# -- optimizer updates: the whole parameter vector in one launch; lr and step are arrays of one element ----------------


def _counted(inputs: str, outputs: str, body: str) -> Kernel:
    """An update that also writes the number of this step, `step` and one more: by the thread of the first element."""
    return Kernel(inputs, f"{outputs}, raw int32 step1", f"{body}; if (i == 0) step1[0] = step + 1")


_UNBIAS = "T t = T(step + 1); T c1 = -expm1(t * log(beta1)); T c2 = -expm1(t * log(beta2));"

UPDATES = {
    "sgd_update": _counted("T g, T theta, T lr, int32 step", "T theta1", "theta1 = theta - lr * g"),
    "momentum_update": _counted(
        "T g, T velocity, T theta, T lr, int32 step, T momentum",
        "T theta1, T velocity1",
        "T v = momentum * velocity + g; theta1 = theta - lr * v; velocity1 = v",
    ),
    "nesterov_update": _counted(
        "T g, T velocity, T theta, T lr, int32 step, T momentum",
        "T theta1, T velocity1",
        "T v = momentum * velocity + g; theta1 = theta - lr * (momentum * v + g); velocity1 = v",
    ),
    "adagrad_update": _counted(
        "T g, T square, T theta, T lr, int32 step, T lr_decay, T eps",
        "T theta1, T square1",
        """
        T s = square + g * g;
        theta1 = theta - (lr / (T(1) + T(step) * lr_decay)) * (g / (sqrt(s) + eps));
        square1 = s""",
    ),
    "rmsprop_update": _counted(
        "T g, T square, T theta, T lr, int32 step, T alpha, T eps",
        "T theta1, T square1",
        "T s = alpha * square + (T(1) - alpha) * (g * g); theta1 = theta - lr * (g / (sqrt(s) + eps)); square1 = s",
    ),
    "adam_update": _counted(
        "T g, T m, T v, T theta, T lr, int32 step, T beta1, T beta2, T eps",
        "T theta1, T m1, T v1",
        _UNBIAS
        + """
        T s = sqrt((T(1) - beta2) / c2);
        T a = beta1 * m + g;
        T b = beta2 * v + g * g;
        theta1 = theta - (lr * (T(1) - beta1) / (c1 * s)) * (a / (sqrt(b) + eps / s));
        m1 = a; v1 = b""",
    ),
    "nadam_update": _counted(
        "T g, T m, T v, T theta, T lr, int32 step, T product, T beta1, T beta2, T eps, T momentum_decay",
        "T theta1, T m1, T v1, raw T product1",
        """
        T t = T(step + 1), c2 = -expm1(t * log(beta2));
        T mu = beta1 * (T(1) - T(0.5) * pow(T(0.96), t * momentum_decay));
        T mu_next = beta1 * (T(1) - T(0.5) * pow(T(0.96), (t + T(1)) * momentum_decay));
        T q = product * mu;
        T a = beta1 * m + (T(1) - beta1) * g;
        T b = beta2 * v + (T(1) - beta2) * (g * g);
        T d = ((T(1) - mu) / (T(1) - q)) * g + (mu_next / (T(1) - q * mu_next)) * a;
        theta1 = theta - lr * (d / (sqrt(b / c2) + eps));
        m1 = a; v1 = b;
        if (i == 0) product1[0] = q""",
    ),
    "lion_update": _counted(
        "T g, T m, T theta, T lr, int32 step, T beta1, T beta2",
        "T theta1, T m1",
        """
        T c = beta1 * m + (T(1) - beta1) * g;
        theta1 = theta - lr * T((c > T(0)) - (c < T(0)));
        m1 = beta2 * m + (T(1) - beta2) * g""",
    ),
    "rprop_update": _counted(
        "T g, T previous, T sizes, T theta, int32 step, T shrink, T grow, T smallest, T largest",
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
"""The results are named for the arguments that they follow: `m1` is the next `m`, of its size and dtype."""

# -- what CuPy has in a form that waits for the device -----------------------------------------------------------------

SIGN = Kernel("T x", "T y", "y = x > T(0) ? T(1) : (x < T(0) ? T(-1) : x)")

# -- random numbers: threefry-2x32 with 20 rounds, the twin of gdnet.backend.random -----------------------------------

THREEFRY = r"""
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
#define WARP 32
template <typename T> __device__ __forceinline__ T warp_max(T v) {
  for (int o = WARP / 2; o; o >>= 1) { T w = __shfl_xor_sync(0xffffffffu, v, o); v = v > w ? v : w; }
  return v;
}
template <typename T> __device__ __forceinline__ T warp_sum(T v) {
  for (int o = WARP / 2; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
// The j-th target of a row: t holds one label a row, or rows like those of z.
template <typename T, typename L> struct Target {
  static __device__ T at(const L* t, int row, size_t start, int j) { return T(t[row] == j); }
};
template <typename T> struct Target<T, T> {
  static __device__ T at(const T* t, int row, size_t start, int j) { return t[start + j]; }
};
// For every row of z (rows x columns, C order), with the smoothed targets q = (1 - s) t + s sum(t) / columns:
// p = softmax(z), dz = share (p sum(q) - q), entropy = -share sum q log p, total = sum(q).
// Where there are no shares of examples (null), share is the same for all.
template <typename T, typename L> __global__ void softmax_cross_entropy(
    const T* __restrict__ z, const L* __restrict__ t, const T* __restrict__ shares, T* __restrict__ p,
    T* __restrict__ dz, T* __restrict__ entropy, T* __restrict__ totals, const T share, const T smoothing,
    const int rows, const int columns, const int rows_per_share) {
  const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (row >= rows) return;
  const size_t start = (size_t)row * columns;
  T top = lane < columns ? z[start + lane] : z[start], total = 0;
  for (int j = lane; j < columns; j += WARP) {
    top = z[start + j] > top ? z[start + j] : top;
    total += Target<T, L>::at(t, row, start, j);
  }
  top = warp_max(top); total = warp_sum(total);
  const T even = smoothing / T(columns) * total, kept = T(1) - smoothing;
  T norm = 0, linear = 0;
  for (int j = lane; j < columns; j += WARP) {
    const T shifted = z[start + j] - top;
    norm += exp(shifted); linear += (kept * Target<T, L>::at(t, row, start, j) + even) * shifted;
  }
  norm = warp_sum(norm); linear = warp_sum(linear);
  const T own = shares ? shares[row / rows_per_share] : share;
  for (int j = lane; j < columns; j += WARP) {
    const T q = exp(z[start + j] - top) / norm;
    p[start + j] = q;
    dz[start + j] = own * (q * total - (kept * Target<T, L>::at(t, row, start, j) + even));
  }
  if (lane == 0) { entropy[row] = own * (total * log(norm) - linear); totals[row] = total; }
}
"""
