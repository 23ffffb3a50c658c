"""The table of layers: run by every test of layers, and by `gdnet check`. Losses and optimizers have tables of theirs.

A layer that is public and missing here fails the test suite.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdnet.layers import (
    ELU,
    GELU,
    SELU,
    Dense,
    Dropout,
    Flatten,
    HardTanh,
    Identity,
    Layer,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Reshape,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from gdnet.network import Parallel, Residual, Sequential


@dataclass(frozen=True)
class LayerCase:
    """A layer, the shape of an example, and the same in torch.

    `torch(F, p, x)` gives torch's y, with `F = torch.nn.functional` and the parameters `p` by name.
    """

    name: str
    layer: Layer
    in_shape: tuple[int, ...]
    torch: Callable[[Any, Any, Any], Any]


def _dense(F: Any, p: Any, x: Any, i: str = "") -> Any:
    return F.linear(x, p[f"{i}W"].T, p[f"{i}b"])


def _chain(F: Any, p: Any, x: Any) -> Any:
    hidden = F.tanh(_dense(F, p, _dense(F, p, x, "0."), "1.0."))
    return F.log_softmax(_dense(F, p, _dense(F, p, hidden, "3."), "4."), -1)


def _concat(F: Any, p: Any, x: Any) -> Any:
    import torch

    return torch.cat([_dense(F, p, F.tanh(x), "0.1."), x, _dense(F, p, x, "2.")], dim=-1)


def _nested(F: Any, p: Any, x: Any) -> Any:
    hidden = _dense(F, p, _dense(F, p, F.silu(x), "0.0.1."), "0.1.")
    around = F.softplus(_dense(F, p, _dense(F, p, hidden, "0.2.0."), "0.2.1."), threshold=40)
    return hidden + around + F.gelu(x) + _dense(F, p, F.linear(x, p["2.0.W"].T), "2.1.")


def _random(F: Any, p: Any, x: Any) -> Any:
    hidden = _dense(F, p, _dense(F, p, x, "0."), "1.")
    return hidden + _dense(F, p, _dense(F, p, F.tanh(hidden), "2.2."), "2.3.")


# Sizes alternate between 4 and 3, and activations stand where it is 4: the fewer shapes, the less JAX has to compile.
LAYERS = (
    LayerCase("identity", Identity(), (4,), lambda F, p, x: 1.0 * x),
    LayerCase("step", Step(), (4,), lambda F, p, x: (x > 0).to(x.dtype) + 0.0 * x),
    LayerCase("sigmoid", Sigmoid(), (4,), lambda F, p, x: F.sigmoid(x)),
    LayerCase("tanh", Tanh(), (4,), lambda F, p, x: F.tanh(x)),
    LayerCase("tanh of numbers", Tanh(), (), lambda F, p, x: F.tanh(x)),
    LayerCase("relu", ReLU(), (4,), lambda F, p, x: F.relu(x)),
    LayerCase("leaky_relu", LeakyReLU(), (4,), lambda F, p, x: F.leaky_relu(x)),
    LayerCase("leaky_relu 0.2", LeakyReLU(0.2), (4,), lambda F, p, x: F.leaky_relu(x, 0.2)),
    LayerCase("elu", ELU(), (4,), lambda F, p, x: F.elu(x)),
    LayerCase("elu 0.7", ELU(0.7), (4,), lambda F, p, x: F.elu(x, 0.7)),
    LayerCase("selu", SELU(), (4,), lambda F, p, x: F.selu(x)),
    LayerCase("softplus", Softplus(), (4,), lambda F, p, x: F.softplus(x, threshold=40)),
    LayerCase("gelu", GELU(), (4,), lambda F, p, x: F.gelu(x)),
    LayerCase("silu", SiLU(), (4,), lambda F, p, x: F.silu(x)),
    LayerCase("hard_tanh", HardTanh(), (4,), lambda F, p, x: F.hardtanh(x)),
    LayerCase("softmax", Softmax(), (4,), lambda F, p, x: F.softmax(x, -1)),
    LayerCase("softmax of images", Softmax(), (2, 3), lambda F, p, x: F.softmax(x, -1)),
    LayerCase("log_softmax", LogSoftmax(), (4,), lambda F, p, x: F.log_softmax(x, -1)),
    LayerCase("flatten", Flatten(), (2, 3), lambda F, p, x: x.reshape(len(x), -1)),
    LayerCase("reshape", Reshape(3, -1), (2, 3), lambda F, p, x: x.reshape(-1, 3, 2)),
    LayerCase("dropout", Dropout(0.4), (4,), lambda F, p, x: F.dropout(x, 0.4, training=False)),
    LayerCase("dense", Dense(4, 3), (4,), _dense),
    LayerCase("dense without bias", Dense(3, bias=False), (4,), lambda F, p, x: F.linear(x, p["W"].T)),
    LayerCase(
        "sequential",
        Sequential(Dense(3), Sequential(Dense(4), Tanh()), Dropout(0.0), Dense(3), Dense(4), LogSoftmax()),
        (4,), _chain,
    ),
    LayerCase(
        "sequential of images", Sequential(ReLU(), Flatten(), Dense(3), Reshape(1, 3)), (2, 2),
        lambda F, p, x: _dense(F, p, F.relu(x).reshape(len(x), -1), "2.").reshape(-1, 1, 3),
    ),
    LayerCase("sequential without parameters", Sequential(Tanh(), Softmax()), (4,),
              lambda F, p, x: F.softmax(F.tanh(x), -1)),
    LayerCase("residual", Residual(Dense(3), Dense(4), Tanh()), (4,),
              lambda F, p, x: x + F.tanh(_dense(F, p, _dense(F, p, x, "0."), "1."))),
    LayerCase(
        "parallel sum", Parallel(Dense(3), Sequential(Tanh(), Dense(3))), (4,),
        lambda F, p, x: _dense(F, p, x, "0.") + _dense(F, p, F.tanh(x), "1.1."),
    ),
    LayerCase("parallel concat", Parallel(Sequential(Tanh(), Dense(3)), Identity(), Dense(3), combine="concat"), (4,),
              _concat),
    LayerCase(
        "nested",
        Parallel(
            Sequential(Sequential(SiLU(), Dense(3)), Dense(4), Residual(Dense(3), Dense(4), Softplus())),
            GELU(),
            Sequential(Dense(3, bias=False), Dense(4)),
        ),
        (4,), _nested,
    ),
    LayerCase(
        "random in the middle",
        Sequential(Dense(3), Dense(4), Residual(Tanh(), Dropout(0.5), Dense(3), Dense(4)), Dropout(0.2)), (4,), _random,
    ),
)  # fmt: skip
