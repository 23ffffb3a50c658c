"""The one flat vector of all parameters, and its layout."""

from gdnet.vector.layout import Layout, Shapes

__all__ = ["Layout", "Shapes"]
