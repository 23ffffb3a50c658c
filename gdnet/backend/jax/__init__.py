"""JAX arrays: whole steps compiled, long vectors kept in parts between them."""
