"""NumPy on the CPU, the default: its kernels, and the compiler that turns a training step into straight-line code."""
