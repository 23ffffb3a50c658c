"""The checker itself: a rule that is 0.1 % wrong must fail, and say where."""

import numpy as np
import pytest

from gdnet.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from gdnet.losses.base import ElementwiseLossAt
from gdnet.losses.cross_entropy import CrossEntropyAt
from gdnet.losses.elementwise import SquaredErrorAt
from gdnet.testing.losses import check_loss


class Wrong(BinaryCrossEntropy):
    """One row of the rule off by a factor."""

    def __init__(self, row, factor):
        super().__init__()
        rule = getattr(self, row)
        setattr(self, row, lambda xp, y, t: factor * rule(xp, y, t))


@pytest.mark.parametrize("row", ["l", "dl", "d2l"])
@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_wrong_row_fails(row, factor):
    target = np.asarray([[0.0, 1.0], [1.0, 0.0]])
    check_loss(Wrong(row, 1.0), (2,), target)
    with pytest.raises(AssertionError, match="entry"):
        check_loss(Wrong(row, factor), (2,), target)


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
    with pytest.raises(AssertionError, match=name if name != "value" else "gradient|residual"):
        check_loss(wrong, (3,), target)


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

    with pytest.raises(AssertionError, match="hessian"):
        check_loss(Off(), (3,), np.asarray([0, 2, 1]))


@pytest.mark.parametrize("base", [ElementwiseLossAt, SquaredErrorAt])
def test_wrong_weights_fail(base):
    class Unweighted(SquaredError):
        def at(self, backend, y, t, weight):
            return base(self, backend, y, t, None)

    with pytest.raises(AssertionError, match="weights"):
        check_loss(Unweighted(), (3,))


def test_report_and_refusals():
    report = check_loss(SquaredError(), (2,))
    assert max(report.values()) < 1e-8
    assert "residual" in report

    class NotFinite(SquaredError):
        def dl(self, xp, y, t):
            return y / 0.0 if not np.isscalar(y) else y

    with np.errstate(divide="ignore"), pytest.raises(AssertionError, match="finite"):
        check_loss(NotFinite(), (2,))
