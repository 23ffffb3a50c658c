"""Checks of rules, for gdnet's own and for yours: every claim of a layer, a loss or a map against a witness."""

from gdnet.testing.layers import check_layer
from gdnet.testing.losses import check_loss
from gdnet.testing.maps import check_map
from gdnet.testing.optimizers import check_optimizer
from gdnet.testing.report import CheckFailed, Report

__all__ = ["CheckFailed", "Report", "check_layer", "check_loss", "check_map", "check_optimizer"]
