"""A chain of elementwise calls as one line of a program: the call of a kernel."""

from typing import Any

import numpy as np

from gdnet.backend.numpy.compiler.chain import OPERATIONS, ROOMS, SPREADS, ChainKernel, spread
from gdnet.backend.numpy.compiler.passes import Chain, reads, with_typed_numbers
from gdnet.backend.numpy.compiler.trace import Call, Value

Place = int | str
"""Where a number or array of a chain is: in a scratch array of the kernel (its index), or in an argument (its text)."""


class ChainLine:
    """Chooses a place for every operand and result of a chain, call by call, and writes the call of its kernel.

    A result that only the chain itself needs goes into a scratch array; another one into a buffer, a donated argument
    or a new array. It may take the place of an operand only if no later call needs that operand, and never that of one
    that is spread over rows or columns: its row is read again for every part of the whole.
    """

    def __init__(self, writer: Any, i: int, chain: Chain) -> None:
        self.writer, self.i, self.chain = writer, i, chain
        (first,) = chain.calls[0].results
        self.shape, self.dtype = first.shape, first.dtype
        self.last = {v: k for k, link in enumerate(chain.calls) for v in reads(link)}
        """The last call that reads a value."""
        spread_out = {v.root for v in self.last if self._is_spread(v)}
        ends = sorted(self.last.items(), key=lambda item: item[1])  # of several views of one memory the last one counts
        self.ends = {root: k for root, k in {v.root: k for v, k in ends}.items() if root not in spread_out}
        """After which call the place of a value is free for a result."""
        self.scratch: dict[Value, int] = {}
        self.numbers: set[Place] = set()
        self.steps: list[tuple[int, list[Place]]] = []
        """(operation, [place of the result, *places of the operands])"""
        self.before: list[str] = []
        """Lines that make room for results."""

    def lines(self) -> list[str]:
        for k, link in enumerate(self.chain.calls):
            operands = [self._operand(a) for a in with_typed_numbers(link, link.function)]
            for v in [v for v in self.scratch if self.last.get(v, k + 1) <= k]:
                del self.scratch[v]
            self.steps.append((OPERATIONS[link.function], [self._result(k, link), *operands]))
        self.writer.give_back_unread()
        return [*self.before, self._call()]

    def _is_spread(self, a: Any) -> bool:
        return isinstance(a, Value) and a.shape not in (self.shape, ())

    def _free(self, among: int) -> int | None:
        """The first scratch array that holds nothing."""
        return next((r for r in range(among) if r not in self.scratch.values()), None)

    def _operand(self, a: Any) -> Place:
        """Where an operand is; a row or column is spread over a scratch array first."""
        if self._is_spread(a) and a not in self.scratch:
            free = self._free(ROOMS + SPREADS)
            assert free is not None  # as many as that are never needed: see `passes.SPREADS`
            self.scratch[a] = free
            self.steps.append((OPERATIONS[spread(a.shape, self.shape)], [free, self.writer.text(a)]))
        place: Place = self.scratch[a] if isinstance(a, Value) and a in self.scratch else self.writer.text(a)
        if np.shape(a) == ():
            self.numbers.add(place)
        return place

    def _result(self, k: int, link: Call) -> Place:
        """Where the result of call k goes."""
        (result,) = link.results
        free = None if result in self.chain.results else self._free(ROOMS)
        if free is not None:
            self.scratch[result] = free
            return free
        ended = [v for v, end in self.ends.items() if end <= k]
        place = self.writer.place(self.i, result, ended, link.function)
        if result not in self.writer.made:
            self.before.append(f"{result.name} = {place or self.writer.new_array(result)}")
        return self.writer.text(result)

    def _call(self) -> str:
        """`chain_7(v1, b2)  # b2 = add(v1, 1.0)`, with a kernel for the steps as they are now."""
        texts = list(dict.fromkeys(place for _, places in self.steps for place in places if isinstance(place, str)))
        number = {text: k for k, text in enumerate(texts)}
        calls = [
            (operation, *(number[p] if isinstance(p, str) else len(texts) + p for p in places))
            for operation, places in self.steps
        ]
        numbers = {k for k, text in enumerate(texts) if text in self.numbers}
        kernel = ChainKernel(calls, len(texts), self.shape, self.dtype, numbers)
        said = "; ".join(map(self._said, self.chain.calls))
        return f"{self.writer.constant('chain_', kernel)}({', '.join(texts)})  # {said}"

    def _said(self, link: Call) -> str:
        """A call as a line of its own would say it."""
        text = self.writer.text
        return f"{text(link.results[0])} = {link.function.__name__}({', '.join(map(text, link.args))})"
