"""Optimizers: vector algebra over evaluations."""

from gdnet.optimizers.base import Info, Optimizer
from gdnet.optimizers.constrained.constraints import Constraint as Constraint
from gdnet.optimizers.constrained.interior_point import InteriorPoint
from gdnet.optimizers.constrained.network_functions import OutputConstraint as OutputConstraint
from gdnet.optimizers.constrained.network_functions import output_bounds as output_bounds
from gdnet.optimizers.constrained.quadratic_program import quadratic_program
from gdnet.optimizers.first_order.adam import Adam, AdamW, NAdam
from gdnet.optimizers.first_order.adaptive import AdaGrad, RMSProp
from gdnet.optimizers.first_order.averaging import Averaged
from gdnet.optimizers.first_order.momentum import Momentum, Nesterov
from gdnet.optimizers.first_order.rule import FirstOrder
from gdnet.optimizers.first_order.schedules import (
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    LinearWarmup,
    OneCycle,
    Schedule,
    StepDecay,
)
from gdnet.optimizers.first_order.sgd import SGD
from gdnet.optimizers.first_order.sign import Lion, Rprop
from gdnet.optimizers.gauss_newton.bayesian_regularization import BayesianRegularization
from gdnet.optimizers.gauss_newton.levenberg_marquardt import LevenbergMarquardt
from gdnet.optimizers.line_search.armijo import Armijo
from gdnet.optimizers.line_search.hager_zhang import HagerZhang
from gdnet.optimizers.line_search.strong_wolfe import StrongWolfe
from gdnet.optimizers.options import Domain, option
from gdnet.optimizers.point import Point
from gdnet.optimizers.result import OptimizeResult
from gdnet.optimizers.scipy_api.function import FunctionObjective
from gdnet.optimizers.scipy_api.least_squares import least_squares
from gdnet.optimizers.scipy_api.minimize import minimize
from gdnet.optimizers.solver import Move, Solver
from gdnet.optimizers.unconstrained.bfgs import BFGS
from gdnet.optimizers.unconstrained.conjugate_gradient import ConjugateGradient
from gdnet.optimizers.unconstrained.gradient_descent import GradientDescent
from gdnet.optimizers.unconstrained.lbfgs import LBFGS
from gdnet.optimizers.unconstrained.newton import Newton
from gdnet.optimizers.unconstrained.newton_cg import HessianFree, NewtonCG
from gdnet.optimizers.unconstrained.scaled_conjugate_gradient import ScaledConjugateGradient

__all__ = [
    "BFGS",
    "LBFGS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Armijo",
    "Averaged",
    "BayesianRegularization",
    "ConjugateGradient",
    "ConstantRate",
    "CosineDecay",
    "Domain",
    "ExponentialDecay",
    "FirstOrder",
    "FunctionObjective",
    "GradientDescent",
    "HagerZhang",
    "HessianFree",
    "Info",
    "InteriorPoint",
    "LevenbergMarquardt",
    "LinearWarmup",
    "Lion",
    "Momentum",
    "Move",
    "NAdam",
    "Nesterov",
    "Newton",
    "NewtonCG",
    "OneCycle",
    "OptimizeResult",
    "Optimizer",
    "Point",
    "RMSProp",
    "Rprop",
    "ScaledConjugateGradient",
    "Schedule",
    "Solver",
    "StepDecay",
    "StrongWolfe",
    "least_squares",
    "minimize",
    "option",
    "quadratic_program",
]
