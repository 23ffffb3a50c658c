"""A training step on NumPy as a straight-line program.

A step never looks at a value, so for given shapes it makes the same NumPy calls every time. It is run once on arrays
that note what is done with them (`trace`), and the calls are written down as one Python function
(`program`): no layers, no look-ups, no dictionaries, and results that do not leave the step go into buffers that
are made once and used again. It is what `jax.jit` and a CUDA graph do for theirs.

The program makes the operations of the step, element by element in the same order, so its results are the same bit for
bit. Every program is checked against the step itself, on its first arguments in reverse order and on those of the first
calls; a step that cannot be written down (it reads a value, say) is simply run.
"""

import contextlib
import functools
import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.backend.numpy.compiler.program import write_program
from gdnet.backend.numpy.compiler.trace import Tape, Traced, Untraceable
from gdnet.backend.tree import flatten, unflatten
from gdnet.errors import OptionError

CHECKED_CALLS = 2
"""How many calls of a new program are compared with the step that it stands for."""
MAX_PROGRAMS = 8
"""How many input signatures of one step are compiled; the short last batch is one."""


@dataclass
class Program:
    """The calls of a step for one signature of arguments. `results` are those of the latest run."""

    run: Callable
    source: str
    rest: Any
    """The signature of the arguments that are not donated."""
    settled: bool
    """Whether results have the shapes and dtypes of the donated arguments whose place they take."""
    checks_left: int = CHECKED_CALLS
    results: tuple = ()


class CompiledStep:
    """`step` itself where it cannot be written down, its programs where it can; the results are the same.

    `donate` numbers the leading arguments that the caller will not use again: results may take their memory.
    """

    def __init__(self, step: Callable, donate: Sequence[int] = ()) -> None:
        if tuple(donate) != tuple(range(len(donate))):
            raise OptionError(f"the donated arguments must come first, got {tuple(donate)}")
        self.step, self.donated = step, len(donate)
        self.programs: dict[Any, Program | None] = {}
        self.latest: Program | None = None
        self.turn = threading.Lock()  # a program's buffers serve one thread at a time
        functools.update_wrapper(self, step)

    def __call__(self, *args: Any) -> Any:
        with self.turn:
            return self._call(args)

    def _call(self, args: tuple) -> Any:
        program = self.latest
        if program is None or not self._comes_back(program, args):
            try:
                key = signature(args)
            except AttributeError:  # something that is no array
                return self.step(*args)
            if key not in self.programs:
                self._compile(key, args)
            program = self.programs.get(key)
            if program is None:
                return self.step(*args)
            if program.checks_left:
                return self._checked(program, key, args)
            args = _own(args, self.donated)
        program.results = results = program.run(*args)
        self.latest = program if program.settled else None
        return results

    def _comes_back(self, program: Program, args: Any) -> bool:
        """Whether the donated arguments are the latest results themselves: then only the others need a look."""
        k, results = self.donated, program.results
        return (
            len(results) >= k > 0
            and all(map(operator.is_, args[:k], results[:k]))
            and signature(args[k:]) == program.rest
        )

    def _compile(self, key: Any, args: Any) -> None:
        if len(self.programs) >= MAX_PROGRAMS:
            return
        tape, self.programs[key] = Tape(), None
        with contextlib.suppress(Exception), np.errstate(all="ignore"):  # the step itself will say what is wrong
            traced, forms = [], []
            for i, argument in enumerate(args):
                leaves, form = flatten(argument)
                forms.append(form)
                traced.append(unflatten(form, iter([tape.input(a, i < self.donated) for a in leaves])))
            results = self.step(*traced)
            outputs, out_form = flatten(results)
            if not all(isinstance(o, Traced) and o.value is not None for o in outputs):
                raise Untraceable("a result does not depend on the arguments")
            if self.donated and len({o.value.root for o in outputs}) < len(outputs):
                raise Untraceable("two results share memory, and may come back to be overwritten")
            run, source = write_program(tape, [o.value for o in outputs], forms, out_form)
            k = self.donated
            settled = isinstance(results, tuple) and signature(results[:k]) == signature(args[:k])
            program = Program(run, source, signature(args[k:]), settled)
            # On other numbers too: what was read past the tape is a constant in the program.
            turned = [_turned(argument) for argument in args]
            if same(self.step(*turned), run(*map(_copied, turned))):
                self.programs[key] = program

    def _checked(self, program: Program, key: Any, args: Any) -> Any:
        """Run both, and keep the program only if it gives what the step gives."""
        program.checks_left -= 1
        copies = [_copied(argument) for argument in args]  # donated ones may be overwritten
        expected = self.step(*args)
        self.programs[key] = None
        with contextlib.suppress(Exception):
            found = program.run(*copies)
            if same(expected, found):
                self.programs[key] = program
            if program.settled:  # a result that cannot be overwritten must be looked at when it comes back
                program.settled = all(a.flags.writeable for a in flatten(found[: self.donated])[0] if a.ndim)
        return expected


def _copied(tree: Any) -> Any:
    leaves, form = flatten(tree)
    return unflatten(form, iter(map(np.array, leaves)))


def _turned(tree: Any) -> Any:
    """The same numbers in the reverse order: labels stay labels, what is positive stays positive."""
    leaves, form = flatten(tree)
    return unflatten(form, iter([np.ravel(a)[::-1].reshape(np.shape(a)).copy(order="K") for a in leaves]))


def _own(args: tuple, donated: int) -> tuple:
    """The arguments, with copies of donated arrays that refuse to be overwritten or that others see too."""
    seen = flatten(args[donated:])[0]
    found = []
    for argument in args[:donated]:
        leaves, form = flatten(argument)
        for i, a in enumerate(leaves):
            if a.ndim and (not a.flags.writeable or any(np.may_share_memory(a, b) for b in seen)):
                leaves[i] = np.array(a)
            seen.append(leaves[i])
        found.append(unflatten(form, iter(leaves)))
    return (*found, *args[donated:])


def same(a: Any, b: Any) -> bool:
    """Whether nested tuples hold equal arrays of equal shapes and dtypes."""
    (xs, form), (ys, other) = flatten(a), flatten(b)
    return form == other and all(
        np.shape(x) == np.shape(y) and x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")
        for x, y in zip(xs, ys, strict=True)
    )


def signature(args: tuple) -> tuple:
    """Shapes, dtypes and strides of nested tuples of arrays; None where there is none."""
    return tuple(
        [None if a is None else signature(a) if isinstance(a, tuple) else (a.shape, a.dtype, a.strides) for a in args]
    )
