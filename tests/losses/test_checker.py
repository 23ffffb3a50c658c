"""The checker itself: a rule that is 0.1 % wrong must fail, and say where."""

import numpy as np
import pytest

from gdnet.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from gdnet.losses.base import ElementwiseLossAt
from gdnet.losses.cross_entropy import CrossEntropyAt
from gdnet.losses.elementwise import SquaredErrorAt
from gdnet.testing import CheckFailed
from gdnet.testing.losses import check_loss


def wrong_parts(loss, out_shape, target=None):
    """The comparisons that fail."""
    with pytest.raises(CheckFailed, match="entry") as caught:
        check_loss(loss, out_shape, target)
    report = caught.value.report
    return {name for name, found in report.findings.items() if found.error > report.tolerance}


class Wrong(BinaryCrossEntropy):
    """One row of the rule off by a factor."""

    def __init__(self, row, factor):
        super().__init__()
        rule = getattr(self, row)
        setattr(self, row, lambda xp, y, t: factor * rule(xp, y, t))


@pytest.mark.parametrize(("row", "parts"), [
    ("l", {"gradient"}), ("dl", {"gradient", "hessian"}), ("d2l", {"hessian"}),
])  # fmt: skip
@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_wrong_row_fails(row, parts, factor):
    target = np.asarray([[0.0, 1.0], [1.0, 0.0]])
    check_loss(Wrong(row, 1.0), (2,), target)
    assert wrong_parts(Wrong(row, factor), (2,), target) == parts


class OffAt:
    """A loss whose `at` is patched: name -> a function of the right answer."""

    def __init__(self, at, **wrong):
        self._at, self._wrong = at, wrong

    def __getattr__(self, name):
        value = getattr(self._at, name)
        return self._wrong[name](value) if name in self._wrong else value


def off(base, **wrong):
    class Off(base):
        def at(self, backend, y, t, weight):
            return OffAt(super().at(backend, y, t, weight), **wrong)

    return Off()


@pytest.mark.parametrize("name", ["value", "gradient", "hessian", "root", "residual"])
@pytest.mark.parametrize("base", [SquaredError, CrossEntropy])
def test_wrong_part_fails(base, name):
    if name == "residual" and base is CrossEntropy:
        wrong = off(base, residual=lambda _: np.ones(3))  # claims a sum of squares that it is not
    else:
        wrong = off(base, **{name: lambda value: 1.001 * value})
    target = None if base is SquaredError else np.asarray([0, 2, 1])
    check_loss(base(), (3,), target)
    assert (name if name != "value" else "gradient") in wrong_parts(wrong, (3,), target)


def test_asymmetric_hessian_fails():
    class Skewed(CrossEntropyAt):
        @property
        def hessian(self):
            right = super().hessian
            skew = self.backend.asarray(np.asarray([1.0, 1.0, 1.001]))
            return type(right)(
                right.backend, right.in_shape, right.out_shape, right.dtype, lambda v: skew * right(v), right.adjoint
            )

    class Off(CrossEntropy):
        def at(self, backend, y, t, weight):
            return Skewed(self, backend, y, t, weight)

    assert wrong_parts(Off(), (3,), np.asarray([0, 2, 1])) >= {"hessian", "symmetry"}


@pytest.mark.parametrize("base", [ElementwiseLossAt, SquaredErrorAt])
def test_wrong_weights_fail(base):
    class Unweighted(SquaredError):
        def at(self, backend, y, t, weight):
            return base(self, backend, y, t, None)

    assert wrong_parts(Unweighted(), (3,)) == {"weights"}


def test_a_target_written_to_is_found():
    class Clips(SquaredError):
        def at(self, backend, y, t, weight):
            np.maximum(t, 0.0, out=t)  # a second call changes nothing: the first must be seen
            return super().at(backend, y, t, weight)

    assert wrong_parts(Clips(), (3,)) == {"target unharmed"}


def test_report():
    report = check_loss(SquaredError(), (2,))
    assert report
    assert report.worst.error < 1e-8
    assert "residual" in report.findings


def test_nan_fails():
    class NotFinite(SquaredError):
        def dl(self, xp, y, t):
            return y * float("nan")

    assert "gradient" in wrong_parts(NotFinite(), (2,))
