"""What a solver found, and why it stopped."""

from typing import Any

MESSAGES = {
    "min_grad": (0, "The largest entry of the gradient is at most min_grad."),
    "goal": (0, "The value reached the goal."),
    "ftol": (6, "The value changed by less than ftol, relatively."),
    "xtol": (7, "The parameters changed by less than xtol, relatively."),
    "max_iter": (1, "The largest number of iterations is done."),
    "max_time": (4, "The time limit is reached."),
    "precision": (2, "No step along the direction lowers the value any more in this precision."),
    "not_finite": (3, "The function or its gradient is not finite here; at the start, choose another starting point."),
    "unbounded": (5, "The function falls without bound."),
    "hessian_not_finite": (8, "The Hessian is not finite."),
    "saddle": (13, "The gradient vanishes at a saddle point that no step could leave."),
    "callback": (99, "The callback asked to stop."),
}
"""Stop reason: (SciPy-style status, message). Solvers may add reasons of their own."""


class OptimizeResult(dict):
    """A dictionary whose entries are attributes too, with the field names of `scipy.optimize.OptimizeResult`.

    Fields: `x, fun, jac, nit, nfev, njev, nhev, success, status, message, stop_reason`, and what a solver adds.

    >>> found = OptimizeResult(x=1.0, success=True)
    >>> found.x, found["success"]
    (1.0, True)
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"the result has no field {name!r}; it has {', '.join(self)}") from error

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:>{width}}: {value!r}" for name, value in self.items())


def stop_message(reason: str) -> tuple[int, str]:
    """(status, message) of a stop reason; an unknown reason is its own message, with status 9."""
    return MESSAGES.get(reason, (9, reason))
