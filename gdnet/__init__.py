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
        "constant glorot_normal glorot_uniform he_normal he_uniform initializer lecun_normal normal orthogonal uniform "
        "zeros"
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
        "Domain FunctionObjective Move OptimizeResult Point Solver least_squares minimize option quadratic_program"
    ),
    "training": (
        "CSVLog Callback Checkpoint EarlyStopping History LearningRateSchedule ProgressBar ReduceOnPlateau StopOnNaN "
        "StopTraining TimeLimit training_step"
    ),
    "model": "Model load",
}
_ELSEWHERE = {
    "AbsoluteError": "MAE L1Loss MeanAbsoluteError mae",
    "BinaryCrossEntropy": "BCE BCELoss BCEWithLogitsLoss BinaryCrossentropy LogLoss",
    "ConjugateGradient": "CG",
    "CrossEntropy": "CrossEntropyLoss CategoricalCrossentropy SparseCategoricalCrossentropy NLLLoss",
    "Dense": "Linear FullyConnected",
    "EarlyStopping": "EarlyStop",
    "Hinge": "HingeLoss HingeEmbeddingLoss",
    "Huber": "HuberLoss SmoothL1Loss",
    "LevenbergMarquardt": "LM trainlm",
    "BayesianRegularization": "BR trainbr",
    "Poisson": "PoissonNLLLoss",
    "Reshape": "Unflatten",
    "SiLU": "Swish",
    "SquaredError": "MSE MSELoss MeanSquaredError mse L2Loss",
    "StepDecay": "StepLR",
    "ExponentialDecay": "ExponentialLR",
    "CosineDecay": "CosineAnnealingLR",
    "OneCycle": "OneCycleLR",
    "he_uniform": "kaiming_uniform kaiming_uniform_ HeUniform",
    "he_normal": "kaiming_normal kaiming_normal_ HeNormal",
    "glorot_uniform": "xavier_uniform xavier_uniform_ GlorotUniform",
    "glorot_normal": "xavier_normal xavier_normal_ GlorotNormal",
    "Model": "Network NeuralNetwork Module",
    "load": "load_model",
    "numerical_gradient": "approx_fprime",
}
"""What other libraries call it, by gdnet's name."""
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
        raise AttributeError(f"module 'gdnet' has no attribute {name!r}{_hint(name)}")
    globals()[name] = value  # the next look-up finds it without this detour
    return value


def _hint(name: str) -> str:
    """What somebody who wrote this name may have meant: gdnet's name for it, or one that is spelt nearly so."""
    import difflib

    if name.startswith("_"):
        return ""
    meant = next((ours for ours, theirs in _ELSEWHERE.items() if name in theirs.split()), None)
    if meant is None:
        lower = {known.lower(): known for known in [*__all__, *_SUBMODULES]}
        found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.75)
        meant = lower[found[0]] if found else None
    return "" if meant is None else f": did you mean gd.{meant}?"


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, "__version__"})
