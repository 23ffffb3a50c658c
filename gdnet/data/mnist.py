"""The MNIST handwritten digits, from the official IDX files."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gdnet.data.digits import Part, pixels
from gdnet.data.idx import read_idx
from gdnet.errors import FileError

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


class _File(NamedTuple):
    name: str
    packed: str
    """SHA-256 of the official .gz file."""
    plain: str
    """SHA-256 of what is in it."""


FILES = (
    _File(
        "train-images-idx3-ubyte",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _File(
        "train-labels-idx1-ubyte",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _File(
        "t10k-images-idx3-ubyte",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _File(
        "t10k-labels-idx1-ubyte",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def load_mnist(
    folder: str | Path | None = None,
    *,
    flatten: bool = True,
    dtype: str = "float32",
    verify: bool = True,
    progress: bool = True,
) -> tuple[Part, Part]:
    """`(x_train, t_train), (x_test, t_test)`: 60000 and 10000 handwritten digits of 28 x 28 pixels.

    Parameters
    ----------
    folder : path, optional
        Where the four IDX files are, with `.gz` or without. Otherwise the environment variable `GDNET_DATA` (that
        folder or `mnist` in it), then the cache folder of the user; what is not there is downloaded into the latter.
    flatten : bool
        True gives x of shape (n, 784), False (n, 28, 28).
    dtype : str
        `"float32"` or `"float64"`: pixels from 0 to 1; `"uint8"`: the original bytes.
    verify : bool
        Compare checksums; False reads other data sets under the same file names, such as Fashion-MNIST.
    progress : bool
        Show a bar while downloading.

    Returns
    -------
    Two pairs of x and t; t holds the digits as int64.

    Raises
    ------
    FileError
        If files are missing, damaged or altered, or cannot be downloaded.

    Reference: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    found = _find(folder, progress)
    train_x, train_t, test_x, test_t = (
        read_idx(path, ndim=3 if "images" in file.name else 1, sha256=file.plain if verify else None)
        for file, path in zip(FILES, found, strict=True)
    )
    for x, t, path in ((train_x, train_t, found[0]), (test_x, test_t, found[2])):
        if len(x) != len(t):
            raise FileError(f"{path} has {len(x)} images, and its file of labels {len(t)} labels")
    return (
        (pixels(train_x, 255, flatten, dtype), train_t.astype(np.int64)),
        (pixels(test_x, 255, flatten, dtype), test_t.astype(np.int64)),
    )


def _find(folder: str | Path | None, progress: bool) -> list[Path]:
    """The four files: in the given folder or nowhere, else wherever they are, else from the net."""
    from gdnet.data.download import cache_folder, download

    if folder is not None:
        paths = _in_folder(Path(folder))
        if paths is None:
            missing = [f.name for f in FILES if _one(Path(folder), f.name) is None]
            raise FileError(f"the folder {folder} lacks the MNIST file(s) {', '.join(missing)}, with or without .gz")
        return paths
    cache = cache_folder() / "mnist"
    data = os.environ.get("GDNET_DATA")
    for place in [*([Path(data, "mnist"), Path(data)] if data else []), cache]:
        if (paths := _in_folder(place)) is not None:
            return paths
    for file in FILES:
        if _one(cache, file.name) is None:
            try:
                download(f"{file.name}.gz", MIRRORS, cache / f"{file.name}.gz", file.packed, progress=progress)
            except FileError as error:
                raise FileError(
                    f"{error}. Without a network, put the four IDX files of MNIST into a folder and name it: "
                    f"load_mnist(folder) or the environment variable GDNET_DATA"
                ) from error
    return [path for file in FILES if (path := _one(cache, file.name)) is not None]


def _in_folder(folder: Path) -> list[Path] | None:
    paths = [path for file in FILES if (path := _one(folder, file.name)) is not None]
    return paths if len(paths) == len(FILES) else None


def _one(folder: Path, name: str) -> Path | None:
    """The file in its usual spellings, or None."""
    spellings = (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz")
    return next((folder / s for s in spellings if (folder / s).is_file()), None)
