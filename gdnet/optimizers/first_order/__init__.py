"""Rules that ask for the gradient alone: mini-batches, and steps that never look."""
