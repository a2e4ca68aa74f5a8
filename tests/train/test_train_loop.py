"""The training loop: it is the customary one, it learns, it is exact, it leaves torch's global state alone."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import Hyperparameters, TrainingDivergedError, build_model, counter, loop
from tunesmith.train.augmentation import Augmentation
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.hyperparameters import LOSSES, OPTIMIZERS
from tunesmith.train.job import Job, Part, Pool, Seeds
from tunesmith.train.layers import Dropout

CPU = torch.device("cpu")


def parts(n: int = 200, k: int = 50, seed: int = 0) -> tuple[Part, Part]:
    """Two classes of 1x16x16 images: bright above, or bright below. Training and validation rows lie mixed."""
    random = np.random.default_rng(seed)
    labels = np.arange(n + k) % 2
    images = random.integers(0, 100, (n + k, 1, 16, 16), np.uint8)
    images[labels == 0, :, :8] += 100
    images[labels == 1, :, 8:] += 100
    rows = torch.from_numpy(random.permutation(n + k))
    shift, scale = torch.full((1, 1, 1), 99.5), torch.full((1, 1, 1), 1 / 60)
    pool = Pool("halves", torch.from_numpy(images), torch.from_numpy(labels), 2)
    return Part(pool, rows[:n], shift, scale), Part(pool, rows[n:], shift, scale)


TRAINING, VALIDATION = parts()


def job(
    h: Hyperparameters,
    epochs: int = 2,
    seed: int = 0,
    network: nn.Module | None = None,
    dropout: float = 0.2,
    **options: Any,
) -> Job:
    if network is None:
        network = build_model("cnn", {"dropout": dropout}, (1, 16, 16), 2, loop.network_seed(seed))
    given = {"training": TRAINING, "validation": VALIDATION, **options}
    return Job(network, h, epochs=epochs, seeds=Seeds.of(seed), **given)


def run(h: Hyperparameters, epochs: int = 2, seed: int = 0, **options: Any) -> list[dict[str, float]]:
    return list(loop.train(job(h, epochs, seed, **options)))


H = Hyperparameters(lr=0.05)


class Logits(nn.Module):
    """Gives logits that were prepared, epoch by epoch, for evaluation; nothing is learned."""

    def __init__(self, epochs: list[Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.epochs = epochs

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.weight.expand(len(x), 2)
        self.epoch += 1
        return self.epochs[int(self.epoch) - 1]


def sure(losses: list[float]) -> list[Tensor]:
    """Logits that give the validation part these mean losses."""
    found = []
    for loss in losses:
        right = -math.log(math.expm1(loss))  # loss = log(1 + exp(-right))
        found.append(functional.one_hot(VALIDATION.labels, 2) * right)
    return found


# -- what it computes --------------------------------------------------------------------------------------------------


def test_it_learns() -> None:
    first, last = run(H)
    assert list(last) == ["val_loss", "val_accuracy", "train_loss", "train_accuracy"]
    assert last["val_accuracy"] == 1.0
    assert last["val_loss"] < first["train_loss"]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_customary_loop(smoothing: float) -> None:
    """Bit for bit; with label smoothing torch sums in another order."""
    h = Hyperparameters(
        lr=0.02, momentum=0.8, weight_decay=1e-3, nesterov=True, batch_size=48, schedule="cosine",
        label_smoothing=smoothing, clip_norm=1.0,
    )  # fmt: skip
    mine, theirs = (build_model("cnn", {}, (1, 16, 16), 2, loop.network_seed(3)) for _ in range(2))
    list(loop.train(job(h, 3, 3, network=mine)))

    images, labels = (TRAINING.pool.images - 99.5) * torch.tensor(1 / 60), TRAINING.pool.labels
    theirs.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.02, momentum=0.8, weight_decay=1e-3, nesterov=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 + math.cos(math.pi * (t / 15))) / 2)
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for epoch in range(1, 4):
        order = TRAINING.rows[counter.permutation(counter.at_step(Seeds.of(3).order, epoch), 200)]
        for batch in order.split(48):
            optimizer.zero_grad()
            criterion(theirs(images[batch]), labels[batch]).backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
    torch.set_num_threads(before)
    close = {"rtol": 1e-5, "atol": 1e-6} if smoothing else {"rtol": 0.0, "atol": 0.0}
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, **close)


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

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.double().flatten(1))

    metrics = run(h, network=Double(), training=training, validation=validation)
    x = loop.seen(training, training.rows).double().flatten(1).numpy()
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
    pool = Pool("numbers", torch.arange(60.0).reshape(60, 1, 1, 1), torch.zeros(60, dtype=torch.int64), 2)
    one = torch.ones(1, 1, 1)
    training, validation = (Part(pool, rows, 0 * one, one) for rows in (torch.arange(50).flip(0), torch.arange(50, 60)))
    seen: list[list[float]] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x.flatten().tolist())
            return self.weight.expand(len(x), 2)

    watched = job(Hyperparameters(batch_size=20), network=Watch(), training=training, validation=validation)
    list(loop.train(watched))
    assert [len(batch) for batch in seen] == [20, 20, 10] * 2
    first, second = ([x for batch in epoch for x in batch] for epoch in (seen[:3], seen[3:]))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert loop.order(watched, 2).tolist() == second
    assert loop.steps_per_epoch(watched) == 3


def test_evaluation_in_pieces_is_the_logits_of_all() -> None:
    validation = parts(20, 1203)[1]
    network = build_model("cnn", {"dropout": 0.5}, (1, 16, 16), 2, 0)
    logits = loop.evaluate(network, validation)
    assert logits.shape == (1203, 2)
    whole = network(loop.seen(validation, validation.rows))
    torch.testing.assert_close(logits, whole.detach(), rtol=1e-5, atol=1e-5)


def test_metrics_are_those_of_the_job() -> None:
    metrics = ("val_accuracy", "val_brier", "val_loss")
    first, last = run(H, metrics=metrics)
    assert list(last) == [*metrics, "train_loss", "train_accuracy"]
    usual = run(H)
    assert [m["val_loss"] for m in (first, last)] == [m["val_loss"] for m in usual]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_learn(optimizer: str) -> None:
    lr = {"sgd": 0.01, "adadelta": 1.0, "rmsprop": 0.001, "adagrad": 0.02}.get(optimizer, 0.005)
    h = Hyperparameters(lr=lr, optimizer=optimizer, weight_decay=1e-4, batch_size=20)
    assert run(h)[-1]["val_accuracy"] > 0.9


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_learned_and_validation_is_always_cross_entropy(loss: str) -> None:
    training = job(Hyperparameters(lr=0.02, loss=loss, batch_size=20))
    last = list(loop.train(training))[-1]
    assert last["val_accuracy"] > 0.9
    logits = loop.evaluate(training.network, VALIDATION)
    assert last["val_loss"] == pytest.approx(functional.cross_entropy(logits, VALIDATION.labels).item(), rel=1e-6)


CHANGES: list[dict[str, Any]] = [
    {"lr": 0.04}, {"momentum": 0.5}, {"nesterov": True}, {"weight_decay": 0.1}, {"batch_size": 50},
    {"weight_decay": 0.1, "decoupled": True}, {"optimizer": "adam"}, {"warmup": 0.5}, {"l1": 0.01},
    {"label_smoothing": 0.1}, {"clip_norm": 0.5}, {"loss": "focal"}, {"loss": "focal", "focal_gamma": 3.0},
    {"loss": "hinge"}, {"loss": "squared-error"}, {"schedule": "step", "step_epochs": 1}, {"schedule": "exponential"},
    {"schedule": "exponential", "gamma": 0.4}, {"schedule": "cosine"}, {"schedule": "cosine", "final_lr": 0.5},
    {"schedule": "one-cycle"}, {"flip": True}, {"crop": 2}, {"rotation": 20.0}, {"noise": 0.2}, {"mixup": 0.4},
    {"cutout": 5},
]  # fmt: skip


def test_each_hyperparameter_has_an_effect() -> None:
    found = [run(H), *(run(Hyperparameters(**{"lr": 0.05, **change})) for change in CHANGES)]
    assert len({repr(metrics) for metrics in found}) == 1 + len(CHANGES)
    assert run(H, dropout=0.0) != found[0]


@pytest.mark.parametrize("change", CHANGES)
def test_equal_arguments_give_equal_bits(change: dict[str, Any]) -> None:
    h = Hyperparameters(**{"lr": 0.05, **change})
    assert run(h, epochs=1, seed=3) == run(h, epochs=1, seed=3)


def test_seeds_and_lengths() -> None:
    assert run(H, seed=3) != run(H, seed=4)
    assert run(H, epochs=3)[:2] == run(H, epochs=2)  # with a constant lr, the length does not change the beginning
    other = job(H, seed=3)
    changed = Job(other.network, H, TRAINING, VALIDATION, 2, Seeds(other.seeds.order, (1, 2), 99))
    assert list(loop.train(changed)) != run(H, seed=3)  # other dropout masks


def test_dropout_is_keyed_by_the_step() -> None:
    masks: list[Tensor] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout, self.linear = Dropout(0.5, 0), nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            dropped = self.dropout(torch.ones(len(x), 6))
            if self.training:
                masks.append(dropped)
            return self.linear(x[:, 0, 0, :1])

    watched = job(Hyperparameters(batch_size=100), network=Watch(), seed=5)
    list(loop.train(watched))
    key = counter.key(Seeds.of(5).dropout, 0)
    for step, mask in enumerate(masks):
        index = torch.arange(100 * 6).view(100, 6)
        kept = counter.bits(counter.at_step(key, step), index) >> 8 >= counter.dropped_below(0.5)
        assert torch.equal(mask, kept * 2.0)
    assert len(masks) == 4
    dropout = watched.network.dropout
    assert isinstance(dropout, Dropout)
    assert dropout.step is None  # in another loop it counts for itself


def test_augmentation_is_keyed_by_the_step() -> None:
    seen: list[Tensor] = []

    class Watch(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x)
            return super().forward(x)

    h = Hyperparameters(batch_size=100, noise=0.1, flip=True)
    watched = job(h, network=Watch(nn.Flatten(), nn.Linear(256, 2)), seed=5)
    list(loop.train(watched))
    augmentation, key = Augmentation.of(h), Seeds.of(5).augmentation
    assert augmentation is not None
    for step, images in enumerate(seen):
        rows = loop.order(watched, 1 + step // 2)[100 * (step % 2) :][:100]
        wanted, _ = augmentation.apply(loop.seen(TRAINING, rows), torch.zeros(100, 2), counter.at_step(key, step))
        assert torch.equal(images, wanted)
    assert len(seen) == 4


# -- early stopping, divergence ----------------------------------------------------------------------------------------


def test_patience_stops_and_restores_the_best_weights() -> None:
    network = Logits(sure([0.6, 0.4, 0.5, 0.45, 0.41, 0.3]))
    training = loop.Training(job(Hyperparameters(patience=2), 6, network=network))
    seen = []
    while not training.finished:
        seen.append(training.epoch()["val_loss"])
    assert seen == pytest.approx([0.6, 0.4, 0.5, 0.45])
    assert training.epochs_done == 4
    assert training.course.best_epoch == 2
    assert training.result["val_loss"] == pytest.approx(0.4)
    assert int(network.epoch) == 2  # a buffer: all of the state is that of the best epoch
    with pytest.raises(InvalidValueError, match="finished after 4 epochs"):
        training.epoch()


def test_patience_restores_the_best_also_at_the_end() -> None:
    network = Logits(sure([0.6, 0.4, 0.5]))
    training = loop.Training(job(Hyperparameters(patience=5), 3, network=network))
    while not training.finished:
        training.epoch()
    assert (int(network.epoch), training.epochs_done) == (2, 3)
    assert training.result["val_loss"] == pytest.approx(0.4)


def test_without_patience_the_last_epoch_counts() -> None:
    network = Logits(sure([0.6, 0.4, 0.5]))
    training = loop.Training(job(Hyperparameters(), 3, network=network))
    improved = []
    while not training.finished:
        training.epoch()
        improved.append(training.course.improved)
    assert improved == [True, True, False]
    assert (int(network.epoch), training.result["val_loss"]) == (3, pytest.approx(0.5))


def test_the_objective_decides_what_is_best() -> None:
    losses = [torch.stack([r, -r], 1) for r in (torch.linspace(-a, b, 50) for a, b in ((1, 1), (1, 2), (2, 1)))]
    network = Logits(losses)
    training = loop.Training(job(Hyperparameters(patience=1), 3, network=network, metrics=("val_accuracy", "val_loss")))
    while not training.finished:
        last = training.epoch()
    assert training.result["val_accuracy"] >= last["val_accuracy"]
    accuracies = [float((x.argmax(1) == VALIDATION.labels).double().mean()) for x in losses]
    stopped = training.epochs_done
    assert training.result["val_accuracy"] == pytest.approx(max(accuracies[:stopped]))
    assert training.course.best_epoch == 1 + accuracies[:stopped].index(max(accuracies[:stopped]))


def test_plateau_looks_at_the_objective() -> None:
    h = Hyperparameters(lr=1.0, schedule="plateau", plateau_patience=0, gamma=0.1)
    training = loop.Training(job(h, 4, network=Logits(sure([0.6, 0.7, 0.5, 0.5]))))
    rates = []
    while not training.finished:
        training.epoch()
        rates.append(training.course.schedule.lr(0))
    assert rates == pytest.approx([1.0, 0.1, 0.1, 0.01])


def test_divergence_is_an_error_with_its_epoch() -> None:
    with pytest.raises(TrainingDivergedError, match=r"epoch 1: training loss (nan|inf).*lr=1e\+30") as caught:
        run(Hyperparameters(lr=1e30))
    assert caught.value.epoch == 1


def test_logits_that_are_no_numbers_are_divergence() -> None:
    bad = torch.zeros(50, 2)
    bad[7, 1] = math.nan
    training = loop.Training(job(Hyperparameters(), 3, network=Logits([torch.zeros(50, 2), bad])))
    training.epoch()
    with pytest.raises(TrainingDivergedError, match=r"epoch 2: training loss 0\.69.*, validation loss nan") as caught:
        training.epoch()
    assert caught.value.epoch == 2


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(256, 3)),
            r"gives \(64, 3\) for \(64, 1, 16, 16\); logits are \(64, 2\)",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), r"a batch of shape \(64, 1, 16, 16\): mat1 and mat2 shapes"),
        (nn.Conv2d(3, 2, 3), "expected input.* to have 3 channels"),
        (nn.Sequential(nn.Conv2d(1, 4, 15), nn.MaxPool2d(3)), "too small"),
    ],
)
def test_networks_that_do_not_fit(network: nn.Module, message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        run(H, network=network)


def test_batch_normalization_of_a_single_image() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 2), nn.BatchNorm1d(2))
    with pytest.raises(InvalidArchitectureError, match=r"batch of shape \(1, 1, 16, 16\): Expected more than 1 value"):
        run(Hyperparameters(batch_size=1), network=network)


def test_other_errors_of_a_network_are_its_own() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("out of coffee")

    with pytest.raises(RuntimeError, match="out of coffee"):
        run(H, network=Broken(1, 1))


# -- precision, devices ------------------------------------------------------------------------------------------------


def test_mixed_precision_on_the_cpu() -> None:
    kinds: list[torch.dtype] = []

    class Watch(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            found = super().forward(x)
            kinds.append(found.dtype)
            return found

    network = Watch(build_model("cnn", {}, (1, 16, 16), 2, 0))
    last = run(H, network=network, precision="bfloat16")[-1]
    assert set(kinds) == {torch.bfloat16}
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert last["val_accuracy"] == 1.0
    assert loop.evaluate(network, VALIDATION, "bfloat16").dtype == torch.float32


def test_impossible_precisions() -> None:
    with pytest.raises(InvalidValueError, match=r"float16 needs CUDA.*on 'cpu' use 'bfloat16' or 'float32'"):
        loop.Training(job(H, precision="float16"))
    with pytest.raises(InvalidValueError, match="Unknown precision 'float64'; known: float32, bfloat16, float16"):
        loop.Training(job(H, precision="float64"))


def test_global_state_is_left_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    other = 1 if threads > 1 else 2
    inside = []

    class Watch(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            inside.append(torch.get_num_threads())
            return super().forward(x)

    network = Watch(nn.Flatten(), nn.Linear(256, 2))
    after_construction = torch.get_rng_state()  # torch's own layers draw from the global numbers; the loop does not
    for _ in loop.train(job(H, network=network, threads=other)):
        assert torch.get_num_threads() == threads
    assert set(inside) == {other}
    assert torch.equal(torch.get_rng_state(), after_construction)
    run(Hyperparameters(flip=True, crop=1, noise=0.1, cutout=2, mixup=0.1, rotation=3.0))
    assert torch.equal(torch.get_rng_state(), after_construction)
    assert not torch.equal(before, after_construction)


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


def test_interleaved_trainings_do_not_disturb_each_other() -> None:
    """As when a study pauses trials and continues them."""
    first, second = (loop.train(job(H, 3, seed)) for seed in (0, 1))
    mixed = [(a, b) for a, b in zip(first, second, strict=True)]
    assert [a for a, _ in mixed] == run(H, epochs=3, seed=0)
    assert [b for _, b in mixed] == run(H, epochs=3, seed=1)


def test_seeds_fit_a_torch_generator() -> None:
    seeds = [loop.network_seed(seed) for seed in (0, 1, 2**63, 2**200)]
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert len(set(seeds)) == 4


@pytest.mark.parametrize(
    ("n", "size", "expected"),
    [(6, 3, [3, 3]), (8, 3, [3, 3, 2]), (7, 3, [3, 4]), (1, 3, [1]), (2, 3, [2]), (3, 1, [1, 1, 1]), (4, 3, [4])],
)
def test_an_image_that_is_left_alone_joins_the_batch_before(n: int, size: int, expected: list[int]) -> None:
    assert loop.batch_sizes(n, size) == expected
