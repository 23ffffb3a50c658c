"""Values and gradients equal torch's. torch's mean also divides by the outputs K; the tables ask it for the sum."""

import numpy as np
import pytest

from gdnet.losses import BinaryCrossEntropy, CrossEntropy, SquaredError, class_weights_to_sample_weights
from gdnet.testing.backends import installed
from gdnet.testing.cases_losses import LOSSES


@pytest.fixture
def torch(request):
    if not installed("torch"):
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)("torch is not installed")
    import torch

    return torch


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_value_and_gradient(torch, case):
    y, t = case.draw(n=11, seed=3)
    leaf = torch.tensor(y, requires_grad=True)
    theirs = case.torch(torch.nn.functional, leaf, torch.tensor(t)) / len(y)
    theirs.backward()
    at = case.loss(y, t)
    np.testing.assert_allclose(at.value, theirs.item(), rtol=1e-10)
    np.testing.assert_allclose(at.gradient, leaf.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_factor_of_the_mean(torch):
    y, t = np.random.default_rng(0).standard_normal((2, 6, 3))
    mean = torch.nn.MSELoss()(torch.tensor(y), torch.tensor(t)).item()
    np.testing.assert_allclose(float(SquaredError()(y, t).value) / 3, mean, rtol=1e-12)
    labels = np.asarray([0, 1, 2, 2, 1, 0])
    mean = torch.nn.CrossEntropyLoss()(torch.tensor(y), torch.tensor(labels)).item()
    np.testing.assert_allclose(CrossEntropy()(y, labels).value, mean, rtol=1e-12)
    hard = (t > 0).astype(float)
    mean = torch.nn.BCEWithLogitsLoss()(torch.tensor(y), torch.tensor(hard)).item()
    np.testing.assert_allclose(float(BinaryCrossEntropy()(y, hard).value) / 3, mean, rtol=1e-12)


def test_class_weights(torch):
    y = np.random.default_rng(0).standard_normal((6, 3))
    labels, weights = np.asarray([0, 1, 2, 2, 1, 0]), [0.2, 1.0, 3.0]
    theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float64))
    ours = CrossEntropy()(y, labels, class_weights_to_sample_weights(weights, labels))
    np.testing.assert_allclose(ours.value, theirs(torch.tensor(y), torch.tensor(labels)).item(), rtol=1e-12)
