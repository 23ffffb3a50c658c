"""Linear maps and their algebra."""

from gdnet.maps.base import MAX_BYTES, Map, symmetric

__all__ = ["MAX_BYTES", "Map", "symmetric"]
