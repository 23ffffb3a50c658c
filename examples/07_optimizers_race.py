"""All first-order optimizers from one start, with the same mini-batches, on the 8 x 8 digits."""

import gdnet as gd

EPOCHS = 10
(x, t), (x_test, t_test) = gd.data.load_digits()
runners = [
    gd.SGD(lr=0.1),
    gd.Momentum(lr=0.1),
    gd.Nesterov(lr=0.1),
    gd.AdaGrad(lr=0.03),
    gd.RMSProp(lr=0.003),
    gd.Adam(lr=0.003),
    gd.AdamW(lr=0.003),
    gd.NAdam(lr=0.003),
    gd.Lion(lr=0.001),
]


def run(optimizer, batch_size):
    """Loss after each epoch and accuracy on test data; the seed fixes the start and the order of the batches."""
    model = gd.Model(gd.Sequential(gd.Dense(64, 50), gd.ReLU(), gd.Dense(50, 10)), loss=gd.CrossEntropy(), seed=0)
    history = model.fit(x, t, optimizer=optimizer, epochs=EPOCHS, batch_size=batch_size, verbose=0)
    return history["loss"], model.evaluate(x_test, t_test)["accuracy"]


print(f"{'optimizer':10} {'lr':>6}   loss in epoch 1 {'in epoch ' + str(EPOCHS):>12} {'test accuracy':>15}")
results = [(optimizer, *run(optimizer, 50)) for optimizer in runners]
results.append((gd.Rprop(lr=0.01), *run(gd.Rprop(lr=0.01), None)))  # signs of noisy gradients mislead it: full batch
for optimizer, loss, accuracy in sorted(results, key=lambda r: r[1][-1]):
    print(f"{type(optimizer).__name__:10} {optimizer.lr:6g} {loss[0]:17.4f} {loss[-1]:12.4f} {accuracy:15.4f}")
print("Rprop takes one step an epoch, the others 29.")
