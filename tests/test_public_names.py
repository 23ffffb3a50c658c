"""What `import gdnet` offers, and what it costs."""

import doctest
import importlib
import subprocess
import sys

import pytest

import gdnet as gd

OPTIONAL = ("array_api_compat.torch", "cupy", "jax", "matplotlib", "safetensors", "scipy", "sklearn", "torch", "tqdm")
NOT_PUBLIC = {  # of use inside gdnet, or to authors of rules, who import them from their folder
    "layers": {"Params", "Shape"},
    "derivatives": {"GradientMismatch", "GradientReport"},
    "losses": {"ElementwiseLossAt", "check_sample_weight", "class_weights_to_sample_weights"},
    "network": {"Composite", "Network"},
    "optimizers": {"Info"},
}


@pytest.mark.parametrize("name", gd.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(gd, name).__doc__


@pytest.mark.parametrize("name", gd.__all__)
def test_every_public_name_has_a_runnable_example(name):
    doc = getattr(gd, name).__doc__ or ""
    assert ">>>" in doc, f"gd.{name} needs an example in its docstring"
    assert doctest.DocTestParser().get_examples(doc)


@pytest.mark.parametrize("folder", ["derivatives", "layers", "losses", "network", "optimizers", "training"])
def test_every_name_of_a_folder_is_public(folder):
    offered = set(importlib.import_module(f"gdnet.{folder}").__all__)
    assert offered - NOT_PUBLIC.get(folder, set()) <= set(gd.__all__)


DESIGN = (
    "Sequential Dense Sigmoid Model CrossEntropy SGD EarlyStopping Checkpoint load training_step numerical_gradient "
    "numerical_jacobian gradcheck minimize least_squares devices "
    "Identity Step Tanh ReLU LeakyReLU ELU SELU Softplus GELU SiLU HardTanh Softmax LogSoftmax "
    "Momentum Nesterov AdaGrad RMSProp Adam AdamW NAdam Lion Rprop "
    "GradientDescent ConjugateGradient ScaledConjugateGradient "
    "BFGS LBFGS LevenbergMarquardt BayesianRegularization Newton NewtonCG InteriorPoint "
    "SquaredError BinaryCrossEntropy AbsoluteError Huber LogCosh Hinge Poisson "
    "zeros constant normal uniform glorot_uniform glorot_normal he_uniform he_normal lecun_normal orthogonal "
)


def test_the_names_that_users_rely_on_exist():
    assert set(DESIGN.split()) <= set(gd.__all__)
    assert gd.testing.check_layer
    assert gd.data.load_digits


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Adamm'"):
        _ = gd.Adamm


def loaded(statement):
    code = f"import sys; {statement}; print(*[m for m in {OPTIONAL!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_import_loads_no_optional_library():
    assert loaded("import gdnet") == []


def test_training_on_numpy_loads_no_optional_library():
    run = (
        "import numpy as np, gdnet as gd; m = gd.Model(gd.Sequential(gd.Dense(2, 1)), loss=gd.SquaredError()); "
        "m.fit(np.ones((4, 2), 'float32'), np.ones((4, 1), 'float32'), optimizer=gd.Adam(), batch_size=2, verbose=0)"
    )
    assert loaded(run) == []
