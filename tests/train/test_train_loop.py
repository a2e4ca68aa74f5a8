"""The training loop: it learns, it is exact, it leaves torch's global state alone."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import Hyperparameters, TrainingDivergedError, build_model, device, loop

CPU = torch.device("cpu")


def parts(n: int = 200, k: int = 50, seed: int = 0) -> tuple[loop.Part, loop.Part]:
    """Two classes of 1x16x16 images: bright above, or bright below."""
    random = np.random.default_rng(seed)
    labels = np.arange(n + k) % 2
    images = random.integers(0, 100, (n + k, 1, 16, 16), np.uint8)
    images[labels == 0, :, :8] += 100
    images[labels == 1, :, 8:] += 100
    statistics = loop.channel_statistics(images[:n])
    return loop.to_part(images[:n], labels[:n], statistics, CPU), loop.to_part(images[n:], labels[n:], statistics, CPU)


def run(
    h: Hyperparameters, epochs: int = 2, seed: int = 0, threads: int | None = 1, dropout: float = 0.2
) -> list[dict[str, float]]:
    training, validation = parts()
    network_seed, order_seed = loop.seeds(seed)
    network = build_model("cnn", {"dropout": dropout}, (1, 16, 16), 2, network_seed)
    return list(loop.train(network, training, validation, h, epochs=epochs, order_seed=order_seed, threads=threads))


H = Hyperparameters(lr=0.05)


def test_it_learns() -> None:
    first, last = run(H)
    assert list(last) == ["val_loss", "val_accuracy", "train_loss", "train_accuracy"]
    assert last["val_accuracy"] == 1.0
    assert last["val_loss"] < first["train_loss"]


def test_equal_arguments_give_equal_bits() -> None:
    assert run(H, seed=3) == run(H, seed=3)
    assert run(H, seed=3) != run(H, seed=4)
    assert run(H, epochs=3)[:2] == run(H, epochs=2)  # the length of a training does not change its beginning


def test_one_step_of_sgd_is_the_textbooks() -> None:
    """Against plain numpy: softmax regression, two steps of SGD with momentum and weight decay on the whole set."""
    training, validation = parts(40, 10)
    linear = nn.Linear(256, 2).double()
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
    h = Hyperparameters(lr=0.1, momentum=0.5, weight_decay=0.01, batch_size=40)

    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.double().flatten(1))

    metrics = list(loop.train(Double(), training, validation, h, epochs=2, order_seed=0))
    x = training.scaled(training.images).double().flatten(1).numpy()
    y = np.eye(2)[training.labels.numpy()]
    weight, velocity, losses = np.zeros((2, 256)), np.zeros((2, 256)), []
    bias, bias_velocity = np.zeros(2), np.zeros(2)
    for _ in range(2):
        z = x @ weight.T + bias
        probability = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        losses.append(-np.log((probability * y).sum(1)).mean())
        gradient = (probability - y).T @ x / 40 + 0.01 * weight
        velocity = 0.5 * velocity + gradient
        bias_velocity = 0.5 * bias_velocity + (probability - y).mean(0) + 0.01 * bias
        weight, bias = weight - 0.1 * velocity, bias - 0.1 * bias_velocity
    np.testing.assert_allclose([m["train_loss"] for m in metrics], losses, rtol=1e-6)
    np.testing.assert_allclose(linear.weight.detach().numpy(), weight, rtol=1e-5, atol=1e-7)


def test_every_image_once_an_epoch_in_a_new_order() -> None:
    training, validation = parts(50, 10)
    training = loop.Part(
        torch.arange(50.0).reshape(50, 1, 1, 1), training.labels, torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    )
    seen: list[list[float]] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(x.flatten().tolist())
            return self.weight.expand(len(x), 2)

    list(loop.train(Watch(), training, validation, Hyperparameters(batch_size=20), epochs=2, order_seed=1))
    assert [len(batch) for batch in seen] == [20, 20, 10] * 2
    first, second = ([x for batch in epoch for x in batch] for epoch in (seen[:3], seen[3:]))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_evaluation_in_pieces_is_the_mean_over_all() -> None:
    validation = parts(20, 1203)[1]
    network = build_model("cnn", {}, (1, 16, 16), 2, 0)
    loss, accuracy = loop.evaluate(network, validation)
    logits = network(validation.scaled(validation.images))
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, validation.labels).item(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == validation.labels).double().mean().item()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_optimizers_learn(optimizer: str) -> None:
    assert run(Hyperparameters(lr=0.01, optimizer=optimizer, weight_decay=1e-4))[-1]["val_accuracy"] > 0.9


def test_each_hyperparameter_has_an_effect() -> None:
    base = run(H, epochs=1)
    for change in ({"lr": 0.04}, {"momentum": 0.5}, {"weight_decay": 0.1}, {"batch_size": 50}, {"optimizer": "adam"}):
        assert run(Hyperparameters(**{"lr": 0.05, **change}), epochs=1) != base, change  # type: ignore[arg-type]
    assert run(H, epochs=1, dropout=0.0) != base


def test_divergence_is_an_error_with_its_epoch() -> None:
    with pytest.raises(TrainingDivergedError, match=r"epoch 1: training loss (nan|inf).*lr=1e\+30") as caught:
        run(Hyperparameters(lr=1e30))
    assert caught.value.epoch == 1


def test_global_state_is_left_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    other = 1 if threads > 1 else 2
    inside = []
    training, validation = parts()

    class Watch(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.append(torch.get_num_threads())
            return super().forward(x)

    network = Watch(nn.Flatten(), nn.Linear(256, 2))
    after_construction = torch.get_rng_state()  # torch's own layers draw from the global numbers; the loop does not
    for _ in loop.train(network, training, validation, H, epochs=2, order_seed=0, threads=other):
        assert torch.get_num_threads() == threads
    assert set(inside) == {other}
    assert torch.equal(torch.get_rng_state(), after_construction)
    run(H)
    assert torch.equal(torch.get_rng_state(), after_construction)
    assert not torch.equal(before, after_construction)


def test_threads_are_restored_after_an_error() -> None:
    threads = torch.get_num_threads()

    def fail() -> None:
        with device.working(CPU, threads + 1):
            assert torch.get_num_threads() == threads + 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == threads


def test_trainings_side_by_side_do_not_disturb_each_other() -> None:
    alone = [run(H, epochs=3, seed=seed) for seed in range(4)]
    together: dict[int, list[dict[str, float]]] = {}
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        start.wait()
        together[seed] = run(H, epochs=3, seed=seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [together[seed] for seed in range(4)] == alone


def test_interleaved_generators_do_not_disturb_each_other() -> None:
    """As when a study pauses trials and continues them."""

    def start(seed: int) -> Iterator[dict[str, float]]:
        training, validation = parts()
        network_seed, order_seed = loop.seeds(seed)
        network = build_model("cnn", {"dropout": 0.2}, (1, 16, 16), 2, network_seed)
        return loop.train(network, training, validation, H, epochs=3, order_seed=order_seed)

    first, second = start(0), start(1)
    mixed = [(a, b) for a, b in zip(first, second, strict=True)]
    assert [a for a, _ in mixed] == run(H, epochs=3, seed=0)
    assert [b for _, b in mixed] == run(H, epochs=3, seed=1)


def test_scaling_uses_the_training_part_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4)).astype(np.uint8)
    images[:, 2] = 7
    shift, scale = loop.channel_statistics(images)
    part = loop.to_part(images, np.zeros(50, np.int64), (shift, scale), CPU)
    seen = part.scaled(part.images).numpy()
    np.testing.assert_allclose(seen[:, :2].mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(seen[:, :2].std((0, 2, 3)), 1, atol=1e-6)
    assert (seen[:, 2] == 0).all()  # a constant channel is centred and not divided by zero
    assert part.images.dtype == torch.uint8


def test_seeds_fit_a_torch_generator() -> None:
    for seed in (0, 1, 2**63, 2**200):
        network, order = loop.seeds(seed)
        assert 0 <= network < 2**62
        assert network != order


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": 0}, InvalidValueError, "lr must be positive"),
        ({"lr": math.inf}, InvalidValueError, "finite"),
        ({"lr": math.nan}, InvalidValueError, "nan"),
        ({"lr": "0.1"}, InvalidTypeError, "'0.1'"),
        ({"momentum": 1.0}, InvalidValueError, r"in \[0, 1\)"),
        ({"weight_decay": -1e-3}, InvalidValueError, "not negative"),
        ({"batch_size": 0}, InvalidValueError, "at least 1"),
        ({"batch_size": 32.0}, InvalidTypeError, "integer"),
        ({"batch_size": True}, InvalidTypeError, "integer"),
        ({"optimizer": "lion"}, InvalidValueError, "known: sgd, adam"),
        ({"optimizer": ["sgd"]}, InvalidValueError, "known: sgd, adam"),
    ],
)
def test_impossible_hyperparameters(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Hyperparameters(**arguments)  # type: ignore[arg-type]


def test_devices() -> None:
    assert device.choose("cpu") == CPU
    assert device.choose("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(InvalidValueError, match="no device 'tpu' on this machine; there are: auto, cpu"):
        device.choose("tpu")
    with pytest.raises(InvalidValueError, match="cuda:99"):
        device.choose("cuda:99")
    with pytest.raises(InvalidTypeError, match="named by a string"):
        device.choose(0)  # type: ignore[arg-type]


def test_cudnn_settings_are_held_while_anyone_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    cuda = torch.device("cuda")  # only named, nothing is computed there
    with device.working(cuda, None):
        with device.working(cuda, None):
            assert torch.backends.cudnn.deterministic
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.benchmark
