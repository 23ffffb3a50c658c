"""What `import gdnet` offers, and what it costs."""

import doctest
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import gdnet as gd
from gdnet.testing.stub import STUB, stub

ROOT = Path(__file__).parents[1]

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


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("MSE", "SquaredError"), ("Linear", "Dense"), ("Adamm", "Adam"), ("dense", "Dense"), ("swish", None),
     ("kaiming_normal_", "he_normal"), ("BCEWithLogitsLoss", "BinaryCrossEntropy"), ("Frobnicate", None)],
)  # fmt: skip
def test_an_unknown_name_leads_to_gdnets(theirs, ours):
    with pytest.raises(AttributeError) as error:
        getattr(gd, theirs)
    assert ("did you mean" in str(error.value)) is (ours is not None)
    assert ours is None or f"gd.{ours}?" in str(error.value)


def test_names_of_other_libraries_lead_to_names_that_exist():
    assert set(gd._ELSEWHERE) <= set(gd.__all__)
    assert not {name for names in gd._ELSEWHERE.values() for name in names.split()} & set(gd.__all__)


def test_editors_know_every_public_name():
    assert STUB.read_text(encoding="utf-8") == stub(), "names have changed: python -m gdnet.testing.stub"


def test_a_misspelt_argument_is_found_by_the_type_checker(tmp_path, request):
    if importlib.util.find_spec("mypy") is None:
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)("mypy is not installed")
    program = tmp_path / "program.py"
    program.write_text(
        "import gdnet as gd\n"
        "gd.Model(gd.Dense(1), loss=gd.SquaredError(), devise='cpu')\n"
        "gd.Adamm()\n"
        "found: int = gd.Model(gd.Dense(1), loss=gd.SquaredError()).fit([], [])\n"
    )
    # With the settings and the cache of the package's own check, so that the package is not analysed once more.
    run = subprocess.run([sys.executable, "-m", "mypy", str(program)], capture_output=True, text=True, cwd=ROOT)
    found = [line for line in run.stdout.splitlines() if "program.py" in line and "error" in line]
    assert len(found) == 3, run.stdout
    assert "devise" in found[0]


def test_the_package_can_be_run():
    run = subprocess.run([sys.executable, "-m", "gdnet", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("gdnet ")


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
