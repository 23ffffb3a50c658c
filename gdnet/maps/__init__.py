"""Linear maps and their algebra."""

from gdnet.maps.base import BATCH_BYTES, MAX_BYTES, Map, diagonal, symmetric

__all__ = ["BATCH_BYTES", "MAX_BYTES", "Map", "diagonal", "symmetric"]
