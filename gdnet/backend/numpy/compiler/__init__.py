"""From a training step to a straight-line program: trace, passes, chains of elementwise operations, written program."""
