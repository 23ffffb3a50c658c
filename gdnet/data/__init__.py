"""Data: arrays, batches, splits, readers."""

from gdnet.data.arrays import Dataset
from gdnet.data.batches import batches, batches_per_epoch
from gdnet.data.checks import check_data, check_labels
from gdnet.data.digits import load_digits
from gdnet.data.idx import read_idx
from gdnet.data.mnist import load_mnist
from gdnet.data.readers import read_csv, read_npz
from gdnet.data.splits import k_fold, split, train_test_split
from gdnet.data.tables import Table, read_table
from gdnet.data.transforms import Standardizer, one_hot

__all__ = [
    "Dataset",
    "Standardizer",
    "Table",
    "batches",
    "batches_per_epoch",
    "check_data",
    "check_labels",
    "k_fold",
    "load_digits",
    "load_mnist",
    "one_hot",
    "read_csv",
    "read_idx",
    "read_npz",
    "read_table",
    "split",
    "train_test_split",
]
