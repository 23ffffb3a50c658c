"""`minimize` and `least_squares`: the solvers on plain functions, with SciPy's names and results."""
