"""Optimizers: vector algebra over evaluations."""

from gdnet.optimizers.adam import Adam, AdamW, NAdam
from gdnet.optimizers.adaptive import AdaGrad, RMSProp
from gdnet.optimizers.averaging import Averaged
from gdnet.optimizers.base import FirstOrder, Info, Optimizer
from gdnet.optimizers.bayesian_regularization import BayesianRegularization
from gdnet.optimizers.bfgs import BFGS
from gdnet.optimizers.conjugate_gradient import ConjugateGradient
from gdnet.optimizers.function import FunctionObjective
from gdnet.optimizers.gradient_descent import GradientDescent
from gdnet.optimizers.interior_point import InteriorPoint
from gdnet.optimizers.ip_functions import Constraint as Constraint
from gdnet.optimizers.ip_objective import OutputConstraint as OutputConstraint
from gdnet.optimizers.ip_objective import output_bounds as output_bounds
from gdnet.optimizers.lbfgs import LBFGS
from gdnet.optimizers.least_squares import least_squares
from gdnet.optimizers.levenberg_marquardt import LevenbergMarquardt
from gdnet.optimizers.line_search import Armijo, HagerZhang, StrongWolfe
from gdnet.optimizers.minimize import minimize
from gdnet.optimizers.momentum import Momentum, Nesterov
from gdnet.optimizers.newton import Newton
from gdnet.optimizers.newton_cg import HessianFree, NewtonCG
from gdnet.optimizers.quadratic_program import quadratic_program
from gdnet.optimizers.result import OptimizeResult
from gdnet.optimizers.scaled_conjugate_gradient import ScaledConjugateGradient
from gdnet.optimizers.schedules import (
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    LinearWarmup,
    OneCycle,
    Schedule,
    StepDecay,
)
from gdnet.optimizers.sgd import SGD
from gdnet.optimizers.sign import Lion, Rprop
from gdnet.optimizers.solver import Solver

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
    "NAdam",
    "Nesterov",
    "Newton",
    "NewtonCG",
    "OneCycle",
    "OptimizeResult",
    "Optimizer",
    "RMSProp",
    "Rprop",
    "ScaledConjugateGradient",
    "Schedule",
    "Solver",
    "StepDecay",
    "StrongWolfe",
    "least_squares",
    "minimize",
    "quadratic_program",
]
