"""A training step on NumPy as a straight-line program.

A step never looks at a value, so for given shapes it makes the same NumPy calls every time. It is run once on arrays
that note what is done with them (`numpy_trace`), and the calls are written down as one Python function
(`numpy_program`): no layers, no look-ups, no dictionaries, and results that do not leave the step go into buffers that
are made once and used again. It is what `jax.jit` and a CUDA graph do for theirs.

The program makes the very calls of the step, so its results are the same bit for bit. The first calls of every program
are checked against the step itself, and a step that cannot be written down (it reads a value, say) is simply run.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.backend.numpy_program import write_program
from gdnet.backend.numpy_trace import Tape, Traced, Untraceable
from gdnet.backend.tree import flatten, unflatten

CHECKED_CALLS = 2
"""How many calls of a new program are compared with the step that it stands for."""
MAX_PROGRAMS = 8
"""How many input signatures of one step are compiled; the short last batch is one."""


@dataclass
class Program:
    run: Callable
    form: Any
    source: str
    checks_left: int = CHECKED_CALLS


class CompiledStep:
    """`step` itself where it cannot be written down, its programs where it can; the results are the same.

    `donate` numbers arguments that the caller will not use again: results may take their memory.
    """

    def __init__(self, step: Callable, donate: Sequence[int] = ()) -> None:
        self.step, self.donate = step, frozenset(donate)
        self.programs: dict[Any, Program | None] = {}
        functools.update_wrapper(self, step)

    def __call__(self, *args: Any) -> Any:
        leaves, _ = flatten(args)
        signature = tuple([(a.shape, a.dtype) for a in leaves])
        if signature not in self.programs:
            self._compile(signature, args)
        program = self.programs.get(signature)
        if program is None:
            return self.step(*args)
        if program.checks_left:
            return self._checked(program, signature, args, leaves)
        return unflatten(program.form, iter(program.run(*leaves)))

    def _compile(self, signature: Any, args: Any) -> None:
        if len(self.programs) >= MAX_PROGRAMS:
            return
        tape = Tape()
        try:
            inputs = []
            for i, argument in enumerate(args):
                leaves, form = flatten(argument)
                inputs.append(unflatten(form, iter([tape.input(a, i in self.donate) for a in leaves])))
            outputs, out_form = flatten(self.step(*inputs))
            if not all(isinstance(o, Traced) and o.value is not None for o in outputs):
                raise Untraceable("a result does not depend on the arguments")
            values = [o.value for o in outputs]
            run, source = write_program(tape, values)
            self.programs[signature] = Program(run, out_form, source)
        except Untraceable:
            self.programs[signature] = None

    def _checked(self, program: Program, signature: Any, args: Any, leaves: list[Any]) -> Any:
        """Run both, and keep the program only if it gives what the step gives."""
        program.checks_left -= 1
        expected = self.step(*args)
        found = program.run(*map(np.array, leaves))  # copies, since donated arguments may be overwritten
        for a, b in zip(flatten(expected)[0], found, strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                self.programs[signature] = None
        return expected
