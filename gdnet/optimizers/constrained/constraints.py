"""Constraints as the user gives them: functions, with their derivatives where there are any."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gdnet.errors import OptionError

SCIPY_FORM = (
    'for {"type": "ineq", "fun": c}, which wants c(x) >= 0, write g_le=lambda x: -c(x), which wants g(x) <= 0; '
    'for {"type": "eq", "fun": c} write h_eq=c; derivatives go along as Constraint(fun, jac, hess)'
)
"""What to write in place of SciPy's dictionaries."""


class Constraint(NamedTuple):
    """A vector of constraint functions with its derivatives.

    Parameters
    ----------
    fun : x -> (m,), or a scalar for m = 1
    jac : x -> (m, n), optional
        Numerical differences where it is None.
    hess : (x, y) -> (n, n), optional
        Σ y_i ∇²c_i(x). Differences of the Jacobian where it is None.

    >>> circle = Constraint(lambda x: x @ x - 1.0, lambda x: 2.0 * x)
    """

    fun: Callable[[Any], Any]
    jac: Callable[[Any], Any] | None = None
    hess: Callable[[Any, Any], Any] | None = None


def as_constraints(given: Any, name: str) -> list[Any]:
    """`g_le=` or `h_eq=` as a list: a callable, a `Constraint`, a tuple (fun, jac, hess), or a list of these."""
    if given is None:
        return []
    if isinstance(given, list):
        return [one for part in given for one in as_constraints(part, name)]
    if isinstance(given, Constraint) or hasattr(given, "bound_to"):
        return [given]
    if isinstance(given, tuple) and 1 <= len(given) <= 3 and callable(given[0]):
        return [Constraint(*given)]
    if callable(given):
        return [Constraint(given)]
    if isinstance(given, Mapping):
        raise OptionError(f"{name} is no dictionary in SciPy's form: {SCIPY_FORM}")
    raise OptionError(
        f"{name} must be a function, a Constraint(fun, jac, hess), a tuple of these three, or a list of such; "
        f"got {type(given).__name__}"
    )


def check_functions_of_x(given: Any, name: str) -> None:
    """An `OptionError` for a constraint that wants more than x: `args` belong to the objective, as in SciPy."""
    for c in as_constraints(given, name):
        for f in filter(None, (c.fun, c.jac) if isinstance(c, Constraint) else ()):
            try:
                signature = inspect.signature(f)
            except (TypeError, ValueError):  # a function that tells nothing of itself
                continue
            try:
                signature.bind(None)
            except TypeError as error:
                raise OptionError(
                    f"{name} is called with x alone ({error}): args go to fun, jac, hess and hessp only, as in SciPy; "
                    f"write {name}=lambda x: c(x, *args)"
                ) from None
