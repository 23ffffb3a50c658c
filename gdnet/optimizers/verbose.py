"""What a solver prints where its `verbose` asks for it: 1 the last line, 2 a line for each iteration too."""

from gdnet.optimizers.result import OptimizeResult


def show_iteration(verbose: int, number: int, **figures: float) -> None:
    """The number of the iteration, and figures by their names.

    >>> show_iteration(2, 7, value=0.5, violation=1e-9)
        7  value  5.00000000e-01  violation  1.00000000e-09
    """
    if verbose > 1:
        print(f"{number:5d}", *(f"{name} {figure: .8e}" for name, figure in figures.items()), sep="  ")


def show_result(verbose: int, found: OptimizeResult) -> None:
    """Why the run stopped, and after how much work.

    >>> show_result(1, OptimizeResult(message="The value reached the goal.", nit=3, nfev=5))
    The value reached the goal. 3 iterations, 5 evaluations.
    """
    if verbose:
        print(f"{found.message} {found.nit} iterations, {found.nfev} evaluations.")
