"""What fit is given: weights and classes in the validation part, batch sizes, switches."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import DataError, OptionError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
T = X @ np.asarray([[1.0], [-2.0], [0.5]])


def model(outputs=1, loss=None, **options):
    net = gd.Sequential(gd.Dense(3, outputs))
    return gd.Model(net, loss=loss or gd.SquaredError(), **({"dtype": "float64"} | options))


class Steps(gd.Callback):
    def on_train_end(self, run):
        self.run = run


def test_weights_go_into_the_validation_part():
    """Examples of weight 0 hold junk, which must not choose the best epoch."""
    t, weight = T.copy(), np.ones(40)
    weight[::4], t[::4] = 0.0, 1000.0
    fitted = model()
    history = fitted.fit(X, t, sample_weight=weight, validation_split=0.5, optimizer=gd.Adam(lr=0.05), epochs=300,
                         callbacks=[gd.EarlyStopping(patience=20)], verbose=0)  # fmt: skip
    assert min(history["val_loss"]) < 1e-6
    np.testing.assert_allclose(fitted.theta, [1.0, -2.0, 0.5, 0.0], atol=1e-2)


def test_validation_data_may_have_weights(bk):
    weight = RNG.random(40)
    scores = []
    for given in ((X, T, weight), [X, T, weight], gd.data.Dataset(X, T, weight)):
        fitted = model(backend=bk.backend)
        history = fitted.fit(X, T, validation_data=given, verbose=0)
        scores.append(history["val_loss"][0])
        assert scores[-1] == pytest.approx(fitted.evaluate(X, T, sample_weight=weight)["loss"], rel=1e-12)
    assert len(set(scores)) == 1
    fitted = model()
    assert fitted.fit(X, T, validation_data=(X, T, None), verbose=0)["val_loss"][0] == fitted.evaluate(X, T)["loss"]
    for wrong in ((X,), (X, T, weight, weight), X, {"x": X}):
        with pytest.raises(OptionError, match=r"\(x, t, sample_weight\) or a Dataset"):
            model().fit(X, T, validation_data=wrong, verbose=0)
    with pytest.raises(DataError, match="validation sample_weight must not be negative"):
        model().fit(X, T, validation_data=(X, T, -weight), verbose=0)


LABELS = {
    "labels": (gd.CrossEntropy(), lambda rare: rare.astype(int), 2),
    "one-hot rows": (gd.CrossEntropy(), lambda rare: np.eye(2)[rare.astype(int)], 2),
    "zeros and ones": (gd.BinaryCrossEntropy(), lambda rare: rare.astype(float)[:, None], 1),
    "signs": (gd.Hinge(), lambda rare: np.where(rare, 1.0, -1.0)[:, None], 1),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_rare_class_is_in_both_parts(kind, bk):
    loss, encode, outputs = LABELS[kind]
    x, rare = RNG.standard_normal((400, 3)), np.arange(400) < 4
    weight = 1.0 + rare  # the weights tell which examples have been held out
    for seed in range(4):
        watch = Steps()
        fitted = model(outputs, loss, backend=bk.backend, seed=seed)
        fitted.fit(bk.put(x), bk.put(encode(rare)), sample_weight=bk.put(weight), validation_split=0.25,
                   batch_size=100, callbacks=[watch], verbose=0)  # fmt: skip
        assert len(watch.run.feed.data) == 300
        assert np.sum(bk.get(watch.run.feed.data.sample_weight) == 2.0) == 3


def test_numbers_and_probabilities_are_no_classes():
    for loss, t in ((gd.Poisson(), np.arange(40)[:, None] % 3), (gd.BinaryCrossEntropy(), RNG.random((40, 1)))):
        assert "val_loss" in model(loss=loss).fit(X, t, validation_split=0.25, verbose=0)


def test_the_default_batch_fits_small_data():
    for n, size in ((20, 20), (32, 32), (40, 32)):
        watch = Steps()
        model().fit(X[:n], T[:n], callbacks=[watch], verbose=0)
        assert watch.run.feed.batch_size == size
    watch = Steps()
    model().fit(X, T, validation_split=0.5, callbacks=[watch], verbose=0)
    assert watch.run.feed.batch_size == 20
    with pytest.raises(OptionError, match="from 1 to the number of examples, 20"):
        model().fit(X[:20], T[:20], batch_size=32, verbose=0)
    with pytest.raises(OptionError, match='an integer, "auto" or None'):
        model().fit(X, T, batch_size="all", verbose=0)


@pytest.mark.parametrize("name", ["shuffle", "drop_last"])
def test_a_switch_is_no_text(name):
    for wrong in ("no", "False", 0, 1.0, None):
        with pytest.raises(OptionError, match=f"{name} must be True or False"):
            model().fit(X, T, verbose=0, **{name: wrong})
    model().fit(X, T, verbose=0, **{name: np.bool_(False)})
