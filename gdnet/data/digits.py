"""The embedded data set: 1797 handwritten digits of 8 x 8 pixels."""

import numpy as np

from gdnet.backend import check_float
from gdnet.errors import OptionError

Part = tuple[np.ndarray, np.ndarray]


def load_digits(*, flatten: bool = True, dtype: str = "float32") -> tuple[Part, Part]:
    """`(x_train, t_train), (x_test, t_test)`: 1437 and 360 handwritten digits, in the package itself.

    Parameters
    ----------
    flatten : bool
        True gives x of shape (n, 64), False (n, 8, 8).
    dtype : str
        `"float32"` or `"float64"`: pixels from 0 to 1; `"uint8"`: the original counts from 0 to 16.

    Returns
    -------
    Two pairs of x and t; t holds the digits as int64.

    Notes
    -----
    This is the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI Machine Learning
    Repository, 1998, CC BY 4.0), in its order, digits of 13 writers. The division is ours and stored with the data:
    a fifth of each digit, drawn once, so that writers occur in both parts.

    >>> (x, t), (x_test, t_test) = load_digits()
    >>> x.shape, x_test.shape, float(x.max())
    ((1437, 64), (360, 64), 1.0)
    """
    from importlib import resources  # slow to import, like the others that are imported inside functions here

    with resources.files("gdnet.data").joinpath("files/digits.npz").open("rb") as file, np.load(file) as stored:
        x, t, test = stored["x"], stored["t"].astype(np.int64), stored["test"]
    x = pixels(x.reshape(-1, 8, 8), 16, flatten, dtype)
    held = np.zeros(len(t), dtype=bool)
    held[test] = True
    return (x[~held], t[~held]), (x[held], t[held])


def pixels(x: np.ndarray, white: int, flatten: bool, dtype: str) -> np.ndarray:
    """Images of bytes as reals from 0 to 1, or as they are.

    >>> pixels(np.full((1, 2, 2), 255, "uint8"), 255, True, "float32").tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    if dtype != "uint8":
        try:
            x = x.astype(check_float(dtype))
        except OptionError:
            raise OptionError(f"dtype must be float32, float64 or uint8, got {dtype!r}") from None
        x /= white
    return x.reshape(len(x), -1) if flatten else x
