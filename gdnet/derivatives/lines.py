"""The lines through x along which a gradient is checked: all its entries, or random directions. Results on the host."""

import numpy as np

from gdnet.backend import Array, host_generator
from gdnet.derivatives.evaluate import Around
from gdnet.derivatives.steps import noise, steps
from gdnet.errors import OptionError
from gdnet.vector import Layout

Both = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Lines:
    """Claimed slopes along some lines, and f ahead of and behind x on them.

    Attributes
    ----------
    claimed : numpy.ndarray
        One slope a line.
    value, noise : float
        f(x), and the size of the errors in it.
    directions : int or None
        How many directions, where the lines are random.
    """

    claimed: np.ndarray
    directions: int | None = None

    def __init__(self, around: Around) -> None:
        self.around, self.value = around, around.backend.read(around.value)
        self.noise = around.backend.read(noise(around))

    def both(self, which: np.ndarray, factor: float) -> Both:
        """f ahead, f behind, and how far each is from x, along lines `which` at `factor` times the step."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What to call a line in a report."""
        raise NotImplementedError

    def host(self, v: Array) -> np.ndarray:
        return np.asarray(self.around.backend.to_numpy(v), dtype=np.float64)


class Entries(Lines):
    """The axes, one by one."""

    def __init__(self, around: Around, claim: np.ndarray, h: float | None, layout: Layout | None) -> None:
        super().__init__(around)
        self.claimed, self.layout, self.step = claim, layout, steps(around, h, 1 / 3)

    def both(self, which: np.ndarray, factor: float) -> Both:
        around, ahead, behind = self.around, [], []
        high, low, x = around.flat + factor * self.step, around.flat - factor * self.step, self.host(around.flat)
        for block in around.blocks(len(which)):
            ahead.append(self.host(around.replaced(which[block], high)))
            behind.append(self.host(around.replaced(which[block], low)))
        distances = (self.host(high) - x)[which], (x - self.host(low))[which]
        return np.concatenate(ahead), np.concatenate(behind), *distances

    def name(self, index: int) -> str:
        if self.layout is not None:
            name, place = self.layout.locate(index)
            return f"{name} {place}"
        return f"x[{', '.join(str(int(k)) for k in np.unravel_index(index, self.around.shape))}]"


class Directions(Lines):
    """Random directions with entries ±1/√P: of length one, and no entry is left out of any."""

    def __init__(self, around: Around, claim: np.ndarray, h: float | None, count: int, seed: int) -> None:
        super().__init__(around)
        if count < 1:
            raise OptionError(f"directions must be at least 1, got {count}")
        steps(around, h, 1 / 3)  # refuses an h that does not move x
        u = (host_generator(seed, "gradcheck").integers(0, 2, (count, around.size)) * 2.0 - 1.0) / np.sqrt(around.size)
        x = self.host(around.flat)
        self.claimed, self.directions = u @ claim, count
        self.step = around.eps ** (1 / 3) * (float(np.sqrt(np.mean(x * x))) or 1.0) if h is None else float(h)
        self.noise += around.eps * float(np.linalg.norm(x * claim))  # x + h u is rounded, entry by entry
        self.u = around.xp.astype(around.backend.asarray(u), around.dtype)

    def both(self, which: np.ndarray, factor: float) -> Both:
        around, distance = self.around, factor * self.step

        def at(s: float) -> np.ndarray:
            points = (around.flat + s * self.u[k, :] for k in which.tolist())
            return np.concatenate([self.host(around.finite(around.at(p[None, :]), which)) for p in points])

        far = np.full(len(which), distance)
        return at(distance), at(-distance), far, far

    def name(self, index: int) -> str:
        return f"random direction {index}"
