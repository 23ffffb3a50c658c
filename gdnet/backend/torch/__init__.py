"""PyTorch tensors, without its autograd."""
