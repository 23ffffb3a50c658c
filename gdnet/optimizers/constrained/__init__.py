"""Interior points: bounds, equalities and inequalities; convex quadratic programs."""
