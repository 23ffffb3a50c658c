"""gdnet: neural networks by gradient descent, with every derivative explicit, on any array library.

The public names are listed here by the folder that defines them, and imported when first used: `import gdnet` costs
little more than `import numpy`.
"""

from typing import Any

import numpy as _numpy  # noqa: F401  the one library that every use of gdnet needs

__version__ = "0.1.0"

_NAMES = {
    "backend": "Backend Key backend_of devices get_backend overridable",
    "vector": "Layout",
    "maps": "Map",
    "derivatives": "gradcheck numerical_derivative numerical_gradient numerical_hessian numerical_jacobian",
    "layers": (
        "Context Dense Dropout Elementwise Flatten Jacobian Layer Reshape "
        "ELU GELU HardTanh Identity LeakyReLU LogSoftmax ReLU SELU SiLU Sigmoid Softmax Softplus Step Tanh"
    ),
    "layers.initializers": (
        "constant glorot_normal glorot_uniform he_normal he_uniform lecun_normal normal orthogonal uniform zeros"
    ),
    "losses": (
        "AbsoluteError BinaryCrossEntropy CrossEntropy ElementwiseLoss Hinge Huber LogCosh Loss LossAt Metric Poisson "
        "SquaredError"
    ),
    "network": "Evaluation Objective Parallel Residual Sequential",
    "optimizers": (
        "AdaGrad Adam AdamW Averaged FirstOrder Lion Momentum NAdam Nesterov Optimizer RMSProp Rprop SGD "
        "ConstantRate CosineDecay ExponentialDecay LinearWarmup OneCycle Schedule StepDecay "
        "BFGS BayesianRegularization ConjugateGradient GradientDescent InteriorPoint LBFGS LevenbergMarquardt Newton "
        "NewtonCG ScaledConjugateGradient Armijo HagerZhang HessianFree StrongWolfe "
        "FunctionObjective OptimizeResult Solver least_squares minimize quadratic_program"
    ),
    "training": (
        "CSVLog Callback Checkpoint EarlyStopping History LearningRateSchedule ProgressBar ReduceOnPlateau StopOnNaN "
        "StopTraining TimeLimit training_step"
    ),
    "model": "Model load",
}
_MODULE_OF = {name: f"gdnet.{module}" for module, names in _NAMES.items() for name in names.split()}
_SUBMODULES = ("data", "errors", "report", "testing")

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"gdnet.{name}")
    else:
        raise AttributeError(f"module 'gdnet' has no attribute {name!r}")
    globals()[name] = value  # the next look-up finds it without this detour
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, "__version__"})
