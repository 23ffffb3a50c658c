"""The table of first-order optimizers: run by every test of them, and by `gdnet check`."""

from dataclasses import dataclass, field
from typing import Any

from gdnet.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    FirstOrder,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
    Rprop,
)


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer, and the name and options of its counterpart in `torch.optim` (None: torch has none)."""

    name: str
    optimizer: FirstOrder
    torch: str | None
    options: dict[str, Any] = field(default_factory=dict)


FIRST_ORDER = (
    OptimizerCase("sgd", SGD(), "SGD"),
    OptimizerCase("sgd_decay", SGD(lr=0.05, weight_decay=0.1), "SGD", {"lr": 0.05, "weight_decay": 0.1}),
    OptimizerCase("momentum", Momentum(), "SGD", {"momentum": 0.9}),
    OptimizerCase(
        "momentum_decay", Momentum(lr=0.02, momentum=0.5, weight_decay=0.1),
        "SGD", {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1},
    ),
    OptimizerCase("nesterov", Nesterov(), "SGD", {"momentum": 0.9, "nesterov": True}),
    OptimizerCase(
        "nesterov_decay", Nesterov(lr=0.02, momentum=0.7, weight_decay=0.1),
        "SGD", {"lr": 0.02, "momentum": 0.7, "nesterov": True, "weight_decay": 0.1},
    ),
    OptimizerCase("adagrad", AdaGrad(), "Adagrad"),
    OptimizerCase(
        "adagrad_decay", AdaGrad(0.1, lr_decay=0.01, initial_accumulator_value=0.2, eps=1e-4, weight_decay=0.1),
        "Adagrad", {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.2, "eps": 1e-4, "weight_decay": 0.1},
    ),
    OptimizerCase("rmsprop", RMSProp(), "RMSprop"),
    OptimizerCase(
        "rmsprop_decay", RMSProp(lr=0.02, alpha=0.9, eps=1e-3, weight_decay=0.1),
        "RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    ),
    OptimizerCase("adam", Adam(), "Adam"),
    OptimizerCase(
        "adam_decay", Adam(lr=0.05, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1),
        "Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1},
    ),
    OptimizerCase("adam_memoryless", Adam(lr=0.01, betas=(0.0, 0.9)), "Adam", {"lr": 0.01, "betas": (0.0, 0.9)}),
    OptimizerCase("adamw", AdamW(), "AdamW"),
    OptimizerCase(
        "adamw_decay", AdamW(lr=0.05, betas=(0.8, 0.99), weight_decay=0.3),
        "AdamW", {"lr": 0.05, "betas": (0.8, 0.99), "weight_decay": 0.3},
    ),
    OptimizerCase("nadam", NAdam(), "NAdam"),
    OptimizerCase("nadam_eps", NAdam(lr=0.02, eps=0.1), "NAdam", {"lr": 0.02, "eps": 0.1}),
    OptimizerCase(
        "nadam_decay", NAdam(lr=0.02, betas=(0.8, 0.99), momentum_decay=0.02, weight_decay=0.1),
        "NAdam", {"lr": 0.02, "betas": (0.8, 0.99), "momentum_decay": 0.02, "weight_decay": 0.1},
    ),
    OptimizerCase("lion", Lion(), None, {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0}),
    OptimizerCase(
        "lion_decay", Lion(lr=0.01, betas=(0.8, 0.95), weight_decay=0.1),
        None, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1},
    ),
    OptimizerCase("rprop", Rprop(), "Rprop"),
    OptimizerCase(
        "rprop_options", Rprop(lr=0.1, etas=(0.4, 1.3), step_sizes=(1e-4, 0.5)),
        "Rprop", {"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (1e-4, 0.5)},
    ),
)  # fmt: skip
