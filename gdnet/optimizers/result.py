"""What a solver found, and why it stopped."""

from typing import Any, NamedTuple

UNKNOWN = 9
"""The status of a reason that is not in the table: it is its own message."""


class Reason(NamedTuple):
    """Why a run stopped: SciPy's `status` of `minimize`, in words, and SciPy's `status` of `least_squares`."""

    status: int
    message: str
    least_squares: int = UNKNOWN


REASONS = {
    "min_grad": Reason(0, "The gradient vanishes, compared with the largest in the run (min_grad).", 1),
    "gtol": Reason(
        0, "The gradient (of a least-squares problem: the cosine of residual and Jacobian) is at most gtol.", 1
    ),
    "rounding": Reason(0, "The gradient is small, and rounding hides any further improvement."),
    "goal": Reason(0, "The value reached the goal."),
    "vanished": Reason(0, "The residuals vanished, compared with those at the start.", 4),
    "converged": Reason(0, "The optimality conditions, unscaled, hold within tol."),
    "max_iter": Reason(1, "The largest number of iterations is done."),
    "max_nfev": Reason(1, "The largest number of evaluations is used up (max_nfev).", 0),
    "precision": Reason(2, "No step improves the point any more in this precision.", 5),
    "not_finite": Reason(
        3, "The function or a derivative is not finite here; at the start, choose another starting point.", -4
    ),
    "nan": Reason(3, "A function or a derivative is not finite here, and there is no way round it."),
    "max_time": Reason(4, "The time limit is reached.", -2),
    "unbounded": Reason(5, "The function falls without bound (over points that keep the constraints, if any)."),
    "ftol": Reason(6, "The value changed by less than ftol, relatively.", 2),
    "xtol": Reason(7, "The parameters changed by less than xtol, relatively.", 3),
    "hessian_not_finite": Reason(8, "The Hessian is not finite."),
    "acceptable": Reason(10, "No further progress in this precision; the conditions hold to the acceptable level."),
    "infeasible": Reason(11, "Infeasible: no point nearby (if convex, none at all) satisfies the constraints."),
    "diverging": Reason(12, "The iterates grow without bound."),
    "saddle": Reason(13, "The gradient vanishes at a saddle point that no step could leave."),
    "mu_max": Reason(14, "No step lowers the value, however strong the damping (mu_max).", 6),
    "evidence": Reason(15, "The evidence has settled: gamma and the objective hardly change any more."),
    "above_start": Reason(16, "The optimality conditions hold, but at a value above that of the feasible start."),
    "constant": Reason(17, "The evidence has settled where the fit is no better than a constant."),
    "callback": Reason(99, "The callback asked to stop.", -3),
}
"""Every stop reason of every solver. Status 0 is a success, 1 a limit of work, 3 not finite; others have one reason."""


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
    """(status, message) of a stop reason."""
    known = REASONS.get(reason)
    return (known.status, known.message) if known else (UNKNOWN, reason)


def least_squares_message(reason: str) -> tuple[int, str]:
    """The same with the status of SciPy's `least_squares`, which counts otherwise: positive where it converged."""
    known = REASONS.get(reason)
    return (known.least_squares, known.message) if known else (UNKNOWN, reason)
