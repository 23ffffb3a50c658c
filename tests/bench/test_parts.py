"""The parts of the benchmark suite: fair turns, equal training, counts, advice, pictures."""

from pathlib import Path

import numpy as np
import pytest

from gdnet.backend import get_backend
from gdnet.backend.numpy.backend import NumpyBackend
from gdnet.bench import advice, floor, imports, operations, plots, summary
from gdnet.bench.candidates import GdnetStep, Unavailable, installed
from gdnet.bench.memory import bound
from gdnet.bench.peers import PEERS, load_peer, peers_of
from gdnet.bench.problems import CASES, Problem, parse_sizes
from gdnet.bench.steps import compare, grid, loss_after, same_loss
from gdnet.bench.timing import MAX_STEPS, Effort, race

SMALL = [
    Problem((6, 5, 3), "sigmoid", 7, "sgd", name="s"),
    Problem((6, 5, 4, 3), "relu", 7, "adam", name="r"),
    Problem((6, 5, 1), "tanh", 7, "adam", name="t"),
    Problem((6, 5, 1), "tanh", 7, "sgd", name="u"),
]


class Recorder:
    def __init__(self, name, log):
        self.name, self.log, self.done = name, log, 0

    def reset(self):
        self.done = 0

    def run(self, steps):
        self.done += steps
        self.log.append(self.name)


def test_candidates_take_turns_and_start_anew():
    log = []
    pair = {name: Recorder(name, log) for name in "ab"}
    times = race(pair, Effort(rounds=3, seconds=1e-4))
    assert "".join(log[4:]) == "aaabbb" * 3  # after each one's calibration: lead, warm-up and clock, by turns
    assert all(len(t.rounds) == 3 for t in times.values())
    assert times["a"].best <= times["a"].median
    assert pair["a"].done <= 2 * MAX_STEPS  # since it went back to the start


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_named_cases_are_those_of_the_page(case):
    expected = {"A": 39_760, "B": 235_146, "C": 1_863_690, "D": 3_051}
    assert case.parameters == expected[case.name] == case.net().layout().size
    assert case.dtype == "float32"


def test_problem_gives_everyone_the_same():
    problem = SMALL[1]
    flat = np.concatenate([part.ravel() for pair in problem.weights() for part in pair])
    np.testing.assert_array_equal(flat, problem.theta())
    (x, t), (y, u) = problem.batches()[0], problem.batches()[0]
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(t, u)
    assert x.dtype == np.float32
    assert problem.flops == 2 * 7 * (3 * (30 + 20 + 12) - 30)


@pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
@pytest.mark.parametrize("peer", [name for name in PEERS if name not in ("torch.compile", "torch.cudagraph")])
def test_peers_train_the_same(peer, problem):
    if not all(map(installed, PEERS[peer][2])):
        pytest.skip(f"{peer} is not installed")
    own, other = GdnetStep(problem, get_backend("cpu")), load_peer(peer)(problem, "cpu")
    for steps in (1, 10):
        assert same_loss(loss_after(other, steps), loss_after(own, steps))
    assert loss_after(other, 3) == loss_after(other, 3)  # reset goes back to the same start


@pytest.mark.gpu
@pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
def test_a_captured_peer_trains_the_same(problem):
    if not installed("torch"):
        pytest.skip("torch is not installed")
    own, other = GdnetStep(problem, get_backend("cpu")), load_peer("torch.cudagraph")(problem, "cuda")
    for steps in (1, 10):
        assert same_loss(loss_after(other, steps), loss_after(own, steps))


def test_a_captured_peer_is_for_cuda_alone():
    assert "torch.cudagraph" not in peers_of("torch")
    assert "torch.cudagraph" in peers_of("torch", "cuda")
    if installed("torch"):
        with pytest.raises(Unavailable, match="need a CUDA device"):
            load_peer("torch.cudagraph")(SMALL[0], "cpu")


def test_another_training_is_not_comparable(monkeypatch):
    class Other(GdnetStep):
        def __init__(self, problem, device):
            super().__init__(problem, get_backend("cpu"))

        def loss(self):
            return super().loss() * 1.01

    monkeypatch.setattr("gdnet.bench.steps.load_peer", lambda name: Other)
    rows = list(compare(SMALL[0], {"numpy": get_backend("cpu")}, ["sklearn"], "cpu", Effort(2, 0.0)))
    assert [r["comparable"] for r in rows] == [True, False]
    assert "not comparable: s sklearn" in summary.summary({"steps": rows})


def test_a_peer_that_fails_is_left_out_with_its_reason(monkeypatch):
    class Broken(GdnetStep):
        def __init__(self, problem, device):
            super().__init__(problem, get_backend("cpu"))

        def run(self, steps):
            raise RuntimeError("no C compiler")

    monkeypatch.setattr("gdnet.bench.steps.load_peer", lambda name: Broken)
    rows = list(compare(SMALL[0], {"numpy": get_backend("cpu")}, ["torch.compile"], "cpu", Effort(2, 0.0)))
    assert rows[1]["skipped"] == "RuntimeError: no C compiler"
    assert "not run: torch.compile" in summary.summary({"steps": rows})


def test_products_are_those_of_a_step():
    problem = SMALL[1]
    work = floor.Products(problem, get_backend("cpu"))
    assert 2 * sum(a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in work.work) == problem.flops
    work.run(1)
    for a, b, out in work.work[::-1]:
        np.testing.assert_allclose(work.work[0][2], work.work[0][0] @ work.work[0][1], rtol=1e-5)
        assert out.shape == (a @ b).shape


class Graphs(NumpyBackend):
    """Stands for CuPy: what is compiled is noted, with its arguments and results."""

    name = "cupy"

    def __init__(self):
        super().__init__()
        self.calls = []

    def compile(self, step, donate=(), strict=False):
        def launch(*args):
            found = step(*args)
            self.calls.append((args, found))
            return found

        return launch


def test_products_on_a_gpu_are_one_graph_that_copies_nothing():
    """A captured step's arguments are copied to their places, and its results from theirs: here it has neither."""
    problem, backend = SMALL[1], Graphs()
    work = floor.Products(problem, backend)
    for *_, out in work.work:
        out[...] = np.nan
    work.run(3)
    assert backend.calls == [((), ())] * 3
    for a, b, out in work.work:
        np.testing.assert_array_equal(out, a @ b)


def test_a_gpus_bandwidth_is_measured_on_arrays_larger_than_its_cache(monkeypatch):
    seen = []

    class Big(Graphs):
        def asarray(self, host, dtype=None):
            seen.append(host.nbytes)
            return np.ones(4, "float32")

    monkeypatch.setattr(np, "full", lambda size, number, dtype: np.broadcast_to(np.asarray(number, dtype), size))
    ways = floor.device_bandwidth_candidates(Big())
    assert seen == [1 << 30] * 2
    assert {name: count for name, (count, _) in ways.items()} == {"triad, device": 3 << 30, "copy, device": 2 << 30}
    assert list(floor.device_bandwidth_candidates(get_backend("cpu", np), 8)) == ["triad, device", "copy, device"]


def test_ways_to_move_a_devices_memory():
    backend = Graphs()
    ways = floor.device_bandwidth_candidates(backend, 8)
    for _, call in ways.values():
        call.run(2)
    torch = installed("torch") and floor.device_bandwidth_candidates(get_backend("cpu", "torch"), 8)
    jax = installed("jax") and floor.device_bandwidth_candidates(get_backend("cpu", "jax"), 8)
    for found in filter(None, (torch, jax)):
        for _, call in found.values():
            call.run(2)
    assert not jax or list(jax) == ["triad, device"], "JAX writes into no array"


def test_long_steps_are_extrapolated_in_proportion():
    rows = list(grid(SMALL[:1], (4, 8, 16), ["sgd"], {"numpy": get_backend("cpu")}, "cpu", Effort(2, 0.0), 0.0))
    assert [r["extrapolated"] for r in rows] == [False, True, True]
    assert rows[2]["seconds"] == pytest.approx(4 * rows[0]["seconds"])
    assert rows[2]["over_floor"] == pytest.approx(rows[0]["over_floor"])


def test_bound_counts_parameters_state_and_activations():
    problem = Problem((3, 4, 2), "relu", 5, "adam")
    assert bound(problem) == 4 * (3 * (12 + 4 + 8 + 2) + 5 * (4 + 4 + 2))


def test_numpy_calls_of_a_program():
    step = GdnetStep(SMALL[0], get_backend("cpu"))
    step.run(3)
    count, _ = operations.numpy_calls(step)
    assert 5 <= count <= operations.numpy_calls_eager(step)


def test_jax_kernels_are_fewer_than_calls():
    if not installed("jax"):
        pytest.skip("jax is not installed")
    step = GdnetStep(SMALL[0], get_backend("cpu", "jax"))
    count, _ = operations.jax_kernels(step)
    assert 5 <= count <= 60


def line(device, seconds):
    return [
        {"device": device, "batch": n, "seconds": s, "candidate": f"gdnet {device}", "network": "6-5-3",
         "optimizer": "sgd", "extrapolated": False, "examples_per_second": n / s} for n, s in seconds.items()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [({1: 5.0, 10: 5.0, 100: 5.0}, 10), ({1: 0.5, 10: 5.0, 100: 5.0}, 1), ({1: 500.0, 10: 500.0, 100: 500.0}, None)],
)
def test_crossover_is_the_batch_from_which_on_the_gpu_wins(gpu, expected):
    assert advice.crossover(line("cpu", {1: 1.0, 10: 10.0, 100: 100.0}) + line("cuda", gpu)) == expected


def test_interpolation_between_batches():
    rows = line("cuda", {1: 1.0, 100: 100.0})
    for batch, seconds in ((1, 1.0), (10, 10.0), (100, 100.0), (1000, 1000.0)):
        assert advice.interpolate(rows, "6-5-3", "gdnet cuda", batch) == pytest.approx(seconds)


def test_peers_of_a_list():
    assert peers_of("torch,jax") == ["torch", "torch.compile", "jax+optax"]
    assert peers_of("torch.compile") == ["torch.compile"]
    assert peers_of("") == []


@pytest.mark.parametrize("text", ["784", "784-0-10", "a-b", "784--10", ""])
def test_sizes_must_be_sizes(text):
    with pytest.raises(ValueError, match="layer sizes"):
        parse_sizes(text)


def test_pictures_of_a_crossover(tmp_path):
    rows = line("cpu", {1: 1.0, 10: 10.0, 100: 100.0}) + line("cuda", {1: 5.0, 10: 5.0, 100: 5.0})
    found = {"settings": {"device": "cpu"}, "environment": {"cpu": "A CPU", "usable_cores": 2},
             "sections": {"grid": rows}}  # fmt: skip
    (path,) = plots.draw([found], tmp_path)
    assert path.name == "bench_crossover.png"
    assert path.stat().st_size > 1000


def test_long_tables_are_cut():
    rows = [{"candidate": f"x{i}", "unit": "calls", "case": "A", "operations": 1} for i in range(100)]
    lines = summary.summary({"operations": rows}).splitlines()
    assert len(lines) == summary.LINES
    assert "61 lines more" in lines[-1]


def test_size_of_a_single_module_is_not_that_of_its_neighbours(tmp_path, monkeypatch):
    (tmp_path / "single.py").write_text("x = 1\n")
    (tmp_path / "neighbour.py").write_text("y = 2\n" * 100)

    class Distribution:
        files = (Path("single.py"), Path("single.pyc"))

        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(imports.metadata, "distribution", lambda name: Distribution())
    monkeypatch.syspath_prepend(tmp_path)
    __import__("single")
    assert imports.size_of("single") == 6
