"""CuPy on NVIDIA GPUs: kernels, products, captured steps, and the reasons why CUDA cannot be used."""
