"""The training loop itself, on MNIST, with arrays of any library.

python 03_mnist_loop.py [numpy | cuda | torch | jax] [epochs]

Set GDNET_DATA to a folder with the MNIST files; without it the embedded 8 x 8 digits are used.
"""

import os
import sys

import gdnet as gd

library = sys.argv[1] if len(sys.argv) > 1 else "numpy"
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 20
backend = gd.get_backend("cuda") if library == "cuda" else gd.get_backend("cpu", library)
(x, t), (x_test, t_test) = gd.data.load_mnist() if "GDNET_DATA" in os.environ else gd.data.load_digits()
data = gd.data.Dataset(x, t).on(backend, "float32")
(x_test,) = gd.data.Dataset(x_test).on(backend, "float32").arrays

net = gd.Sequential(gd.Dense(x.shape[1], 50), gd.Sigmoid(), gd.Dense(50, 10))
optimizer = gd.SGD(lr=0.5)
step = backend.compile(gd.training_step(net, gd.CrossEntropy(), optimizer))
theta = net.parameters(like=data.x)
state = optimizer.init(theta)
for epoch in range(epochs):
    for xb, tb in gd.data.batches(data, batch_size=100, epoch=epoch):  # 1. a mini-batch
        theta, state, loss = step(theta, state, xb, tb)  # 2. its gradient, 3. the update
    logits, _ = net(net.layout().split(theta), x_test)  # 4. again, until a stop criterion holds
    accuracy = (backend.to_numpy(logits).argmax(axis=1) == t_test).mean()
    print(f"epoch {epoch + 1}: loss of the last batch {backend.read(loss):.4f}, test accuracy {accuracy:.4f}")
