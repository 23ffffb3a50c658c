"""A training step on NumPy as a straight-line program.

A step never looks at a value, so for given shapes it makes the same NumPy calls every time. It is run once on arrays
that note what is done with them (`trace`), and the calls are written down as one Python function
(`program`): no layers, no look-ups, no dictionaries, and results that do not leave the step go into buffers that
are made once and used again. It is what `jax.jit` and a CUDA graph do for theirs.

The program makes the operations of the step, element by element in the same order, so its results are the same bit for
bit. Every program is checked against the step itself, on its first arguments in reverse order and on those of the first
calls. A step that cannot be written down is simply run, and `reason` says why: it reads a value on the host, or it does
something besides giving results, such as keeping a running mean in a layer, which its program would not do.
"""

import functools
import operator
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdnet.backend.base import check_donated
from gdnet.backend.numpy.compiler.program import write_program
from gdnet.backend.numpy.compiler.trace import Tape, Traced, Untraceable
from gdnet.backend.side_effects import Snapshot
from gdnet.backend.tree import flatten, unflatten
from gdnet.errors import CompileError

CHECKED_CALLS = 2
"""How many calls of a new program are compared with the step that it stands for."""
MAX_PROGRAMS = 8
"""How many input signatures of one step are compiled at a time; the short last batch is one."""
WORTHWHILE = 16
"""How often another signature must come, before it takes the place of the program that has rested longest. Compiling
costs as much as some tens of calls, so that sizes which change all the time are better not compiled at all."""


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

    Parameters
    ----------
    step : callable
        A function of nested tuples of arrays that gives such.
    donate : sequence of int
        The leading arguments that the caller will not use again: results may take their memory.
    strict : bool
        Raise what stands against a program, instead of running the step as it is.

    >>> def step(theta, x):
    ...     return theta - 0.1 * x if float(x[0]) > 0.0 else theta
    >>> compiled = CompiledStep(step)
    >>> compiled(np.ones(2), np.ones(2))
    array([0.9, 0.9])
    >>> compiled.reason
    'the step reads a value on the host (as float(x), bool(x) or x.item() do)'
    """

    unwatched: ClassVar[bool] = True

    def __init__(self, step: Callable, donate: Sequence[int] = (), strict: bool = False) -> None:
        self.step, self.donated, self.strict = step, check_donated(donate), strict
        self.programs: dict[Any, Program | str] = {}
        """For each signature its program, or why there is none; the one that has rested longest comes first."""
        self.waiting: dict[Any, int] = {}
        """How often other signatures have come since that program was used."""
        self.latest: Program | None = None
        self.turn = threading.Lock()  # a program's buffers serve one thread at a time
        _STEPS.add(self)
        functools.update_wrapper(self, step)

    @property
    def reason(self) -> str | None:
        """Why the step, for some of the shapes that it was called with, runs as it is; None if it is compiled."""
        return next((found for found in reversed([*self.programs.values()]) if isinstance(found, str)), None)

    def __call__(self, *args: Any) -> Any:
        with self.turn:
            return self._call(args)

    def _call(self, args: tuple) -> Any:
        program = self.latest
        if program is None or not self._comes_back(program, args):
            found = self._found(args)
            if isinstance(found, str):
                return self.step(*args)
            program = found
            if program.checks_left:
                return self._checked(program, args)
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

    def _found(self, args: tuple) -> Program | str:
        """The program for these arguments, or why there is none."""
        try:
            key = signature(args)
        except AttributeError:
            self.programs[None] = reason = "an argument is not an array, nor a tuple of arrays"
            return reason
        if key in self.programs:
            if key == next(iter(self.programs)):
                self.waiting.clear()
            self.programs[key] = self.programs.pop(key)
        elif self._has_room(key):
            self.programs[key] = self._compiled(args)
        return self.programs.get(key, "arguments of many shapes: this one has not come often")

    def _has_room(self, key: Any) -> bool:
        """Whether to compile a new signature; if need be, in the place of what has rested longest."""
        if len(self.programs) < MAX_PROGRAMS:
            return True
        self.waiting[key] = times = self.waiting.get(key, 0) + 1
        if times < WORTHWHILE:
            return False
        del self.programs[next(iter(self.programs))], self.waiting[key]
        return True

    def _compiled(self, args: tuple) -> Program | str:
        """A new program, or why there is none. Whatever the step changed while it was looked at is put back."""
        before, tape = Snapshot(self.step), Tape()
        try:
            with np.errstate(all="ignore"):  # the step itself will say what is wrong
                return self._program(args, tape, before)
        except Exception as error:
            if self.strict:
                raise
            return str(error) if isinstance(error, CompileError) else f"{type(error).__name__}: {error}"
        finally:
            tape.close()
            before.restore(_is_traced)

    def _program(self, args: tuple, tape: Tape, before: Snapshot) -> Program:
        traced, forms = [], []
        for i, argument in enumerate(args):
            leaves, form = flatten(argument)
            forms.append(form)
            traced.append(unflatten(form, iter([tape.input(a, i < self.donated) for a in leaves])))
        results = self.step(*traced)
        outputs, out_form = flatten(results)
        if not all(isinstance(o, Traced) and o.value is not None for o in outputs):
            raise Untraceable("a result does not depend on the arguments")
        wanted = [o.value for o in outputs]
        if self.donated and len({v.root for v in wanted}) < len(wanted):
            raise Untraceable("two results share memory, and may come back to be overwritten")
        k = self.donated
        settled = isinstance(results, tuple) and signature(results[:k]) == signature(args[:k])
        del traced, leaves, results, outputs
        if changes := before.restore(_is_traced):
            raise Untraceable(f"{changes[0]}, which a program would not do")
        if tape.leaks():
            raise Untraceable("the step keeps an array where a program would not put it")
        run, source = write_program(tape, wanted, forms, out_form)
        # On other numbers too: what was read past the tape is a constant in the program.
        turned = [_turned(argument) for argument in args]
        if not same(self.step(*turned), run(*map(_copied, turned))):
            raise CompileError("on other numbers its program gives something else: the step uses values past the trace")
        return Program(run, source, signature(args[k:]), settled)

    def _checked(self, program: Program, args: Any) -> Any:
        """Run both, and keep the program only if it gives what the step gives, and the step does nothing else."""
        copies = [_copied(argument) for argument in args]  # donated ones may be overwritten
        before = Snapshot(self.step)
        expected = self.step(*args)
        program.checks_left -= 1
        try:
            if changes := before.changes():
                raise CompileError(f"{changes[0]}, which a program would not do")
            found = program.run(*copies)
            if not same(expected, found):
                raise CompileError("its program gives something else")
            if program.settled:  # a result that cannot be overwritten must be looked at when it comes back
                program.settled = all(a.flags.writeable for a in flatten(found[: self.donated])[0] if a.ndim)
        except Exception as error:
            self.programs[next(reversed(self.programs))] = f"{error}"  # the one that was looked up last
            if self.strict:
                raise
        return expected


_STEPS: weakref.WeakSet[CompiledStep] = weakref.WeakSet()


def _unlock() -> None:
    """In a forked child: another thread of the parent may have been within a step, and is not there to leave it."""
    for step in _STEPS:
        step.turn, step.latest = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _is_traced(value: Any) -> bool:
    return isinstance(value, Traced)


def _copied(tree: Any) -> Any:
    leaves, form = flatten(tree)
    return unflatten(form, iter(map(np.array, leaves)))


def _turned(tree: Any) -> Any:
    """Other numbers of the same kind: labels stay labels, what is positive stays positive, what is below 1 stays there.

    They come in the reverse order, and those that are not whole times a number from ½ to 1.
    """

    def turned(a: np.ndarray) -> np.ndarray:
        flat = np.ravel(a)[::-1]
        if a.dtype.kind == "f":
            flat = flat * np.linspace(0.5, 1.0, flat.size, dtype=a.dtype)
        found = np.empty_like(a, subok=False)  # with the strides of a
        found[...] = flat.reshape(np.shape(a))
        return found

    leaves, form = flatten(tree)
    return unflatten(form, iter(map(turned, leaves)))


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
