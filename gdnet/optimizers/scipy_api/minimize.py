"""`minimize`: SciPy's signature and result, on arrays of any library."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from gdnet.errors import OptionError
from gdnet.optimizers.result import OptimizeResult
from gdnet.optimizers.scipy_api.function import FunctionObjective
from gdnet.optimizers.solver import Solver, as_start
from gdnet.optimizers.unconstrained.bfgs import BFGS
from gdnet.optimizers.unconstrained.conjugate_gradient import ConjugateGradient
from gdnet.optimizers.unconstrained.gradient_descent import GradientDescent
from gdnet.optimizers.unconstrained.lbfgs import LBFGS
from gdnet.optimizers.unconstrained.newton import Newton
from gdnet.optimizers.unconstrained.newton_cg import NewtonCG
from gdnet.optimizers.unconstrained.scaled_conjugate_gradient import ScaledConjugateGradient

METHODS: dict[str, type[Solver]] = {
    "bfgs": BFGS,
    "lbfgs": LBFGS,
    "cg": ConjugateGradient,
    "gd": GradientDescent,
    "scg": ScaledConjugateGradient,
    "newton": Newton,
    "newton_cg": NewtonCG,
}

BY_DIFFERENCES = 1e-7
"""The default of min_grad where the gradient is found by differences, which are not exact enough for less."""

SCIPY_NAMES = {"maxiter": "max_iter", "xrtol": "xtol", "maxcor": "history"}
"""SciPy's names of options beside gdnet's."""


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple = (),
    method: str | Solver = "bfgs",
    jac: Any = None,
    hess: Any = None,
    hessp: Callable[..., Any] | None = None,
    bounds: Any = None,
    g_le: Any = None,
    h_eq: Any = None,
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    constraints: Any = None,
) -> OptimizeResult:
    """min fun(x), with `method="interior_point"` subject to g_le(x) <= 0, h_eq(x) = 0 and bounds.

    Parameters
    ----------
    fun : (x, *args) -> number
        x is an array of x0's library, dtype and device.
    x0 : (n,) array of any library, or numbers
    args : tuple
        Handed to fun, jac, hess and hessp after x; to constraints not, as in SciPy.
    method : str or Solver
        "bfgs", "lbfgs", "cg", "newton", "newton_cg", "gd", "scg" or "interior_point"; or a solver with its options,
        such as `gd.BFGS(line_search=gd.HagerZhang())`, or one of your own.
    jac : (x, *args) -> (n,), True, "2-point" or "3-point"
        The gradient; True: fun returns (value, gradient); by default differences of fun: central ones, for "bfgs",
        "lbfgs", "cg" and "gd" forward ones until they are too coarse.
    hess : (x, *args) -> (n, n) or `Map`
    hessp : (x, v, *args) -> (n,)
        Where neither is given and a method needs one, differences of the gradient serve.
    bounds, g_le, h_eq
        For "interior_point" alone: n pairs (low, high), functions of x alone with g_le(x) <= 0 and h_eq(x) = 0.
    tol : float
        Same as `options["gtol"]`: stop when max_i |∂f/∂x_i| is at most this, as in SciPy, in the units of f and x, and
        not before. Without it the rule is free of units: `options["min_grad"]`, 1e-8 of the largest
        gradient met, 1e-7 by differences.
    callback : function of x, or of `intermediate_result`
        Called after each iteration. True from it, or StopIteration, ends the run.
    options : dict
        Fields of the method's class, and SciPy's names gtol, maxiter, xrtol, maxcor.
    constraints
        SciPy's dictionaries are refused, with what to write instead: its "ineq" has the other sign.

    Returns
    -------
    OptimizeResult
        x, fun, jac, nit, nfev, njev, nhev, success, status, message, stop_reason, gradient_norm. `success` means that
        the gradient is small by that rule (or the goal reached), never only that nothing moved any more.

    Raises
    ------
    OptionError, ShapeError, ArrayError
        For unknown methods and options, and for functions that return something of the wrong shape or kind.

    >>> import gdnet as gd
    >>> found = minimize(lambda x: (x[0] - 1) ** 2 + (x[1] - x[0]) ** 2, [0.0, 3.0])
    >>> found.success, found.x.round(4)
    (True, array([1., 1.]))
    """
    if constraints is not None and not (isinstance(constraints, (list, tuple)) and not constraints):
        from gdnet.optimizers.constrained.constraints import SCIPY_FORM

        raise OptionError(f"constraints= is not taken: {SCIPY_FORM}")
    chosen = dict(options or {})
    name = method.lower().replace("-", "_") if isinstance(method, str) else method
    if name == "interior_point":
        return _interior_point(fun, x0, args, jac, hess, hessp, bounds, g_le, h_eq, tol, callback, chosen)
    given = [label for label, value in (("bounds", bounds), ("g_le", g_le), ("h_eq", h_eq)) if value is not None]
    if isinstance(method, Solver):
        name = type(method).__name__
        if chosen or tol is not None:
            raise OptionError(f"method is a solver: give the options to it, {name}(...), not to minimize")
        if given:
            raise OptionError(f"{name} knows no constraints, but {' and '.join(given)} came")
        return method.run(FunctionObjective(fun, jac, hess, hessp, args=args), as_start(x0), _callback(callback))
    if name not in METHODS:
        raise OptionError(f"method must be one of {', '.join([*METHODS, 'interior_point'])}, got {method!r}")
    if given:
        raise OptionError(
            f'method="{name}" knows no constraints, but {" and ".join(given)} came: take method="interior_point"'
        )
    solver = METHODS[name]
    chosen = {SCIPY_NAMES.get(key, key): value for key, value in chosen.items()}
    if tol is not None:
        chosen.setdefault("gtol", tol)
    if "gtol" in chosen:
        chosen.setdefault("min_grad", 0.0)
    known = {field.name for field in fields(solver)}
    if unknown := sorted(set(chosen) - known):
        raise OptionError(f'method="{name}" has no option {", ".join(unknown)}; it has {", ".join(sorted(known))}')
    if jac is None and name in ("bfgs", "lbfgs", "cg", "gd"):
        jac = "staged"
    if not callable(jac) and jac is not True:
        chosen.setdefault("min_grad", BY_DIFFERENCES)
    objective = FunctionObjective(fun, jac, hess, hessp, args=args)
    return solver(**chosen).run(objective, as_start(x0), _callback(callback))


def _callback(callback: Callable[..., Any] | None) -> Callable[[OptimizeResult], Any] | None:
    """SciPy's two forms: a parameter named `intermediate_result` gets the result so far, any other one x."""
    if callback is None:
        return None
    try:
        names = list(inspect.signature(callback).parameters)
    except (TypeError, ValueError):
        names = []
    if names == ["intermediate_result"]:
        return lambda found: callback(intermediate_result=found)
    return lambda found: callback(found.x)


def _interior_point(
    fun: Any, x0: Any, args: tuple, jac: Any, hess: Any, hessp: Any, bounds: Any, g_le: Any, h_eq: Any,
    tol: float | None, callback: Any, options: dict[str, Any],
) -> OptimizeResult:  # fmt: skip
    from gdnet.optimizers.constrained.interior_point import InteriorPoint, interior_point

    options = {{"maxiter": "max_iter", "gtol": "tol"}.get(key, key): value for key, value in options.items()}
    if tol is not None:
        options.setdefault("tol", tol)
    known = {field.name for field in fields(InteriorPoint)} - {"lower", "upper", "g_le", "h_eq", "layout"}
    if unknown := sorted(set(options) - known):
        raise OptionError(
            f'method="interior_point" has no option {", ".join(unknown)}; it has {", ".join(sorted(known))}'
        )
    return interior_point(fun, x0, args, jac, hess, hessp, bounds, g_le, h_eq, callback=_callback(callback), **options)
