"""Losses, hits, logits and gradients of the SIMD engine against torch's autograd in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tunesmith.train import counter
from tunesmith.train.activations import ACTIVATIONS
from tunesmith.train.device import working
from tunesmith.train.job import Pool
from tunesmith.train.lanes.engine import Images, Step
from tunesmith.train.lanes.simd.conv_plan import ConvPlan
from tunesmith.train.lanes.simd.engine import SimdEngine
from tunesmith.train.layers import Dropout, dropouts
from tunesmith.train.losses import loss as exact_loss
from tunesmith.train.signature import Signature, signature

LANES = SimdEngine.width()
pytestmark = pytest.mark.skipif(LANES == 0, reason="no SIMD lanes on this processor")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with working(torch.device("cpu"), 1):
        yield


Shape = tuple[int, int, int]
Make = Callable[[], nn.Module]
#: Largest error of a gradient, relative to the largest gradient of its network. Sums of 10 to 1000 float32 products
#: have errors of 1e-7 to 1e-6; a wrong term shows as 1e-2.
TOLERANCE = 1e-5


def flat_size(layers: list[nn.Module], shape: Shape) -> int:
    with torch.no_grad():
        return nn.Sequential(*layers, nn.Flatten())(torch.zeros(1, *shape)).shape[1]


def with_head(make_layers: Callable[[], list[nn.Module]], shape: Shape, classes: int = 5) -> Make:
    """A network that ends with a linear layer."""

    def make() -> nn.Module:
        layers = make_layers()
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat_size(layers, shape), classes))

    return make


def signature_of(make_layers: Callable[[], list[nn.Module]], shape: Shape) -> Signature:
    found = signature(with_head(make_layers, shape)(), shape)
    assert found is not None
    return found


def random_step(
    shape: Shape, classes: int, batch: int, loss: str, gamma: float, floats: bool, networks: list[nn.Module]
) -> Step:
    pixels = torch.rand(40, *shape) if floats else torch.randint(0, 256, (40, *shape), dtype=torch.uint8)
    pool = Pool("random", pixels, torch.zeros(40, dtype=torch.int64), classes)
    unit = 1.0 if floats else 256.0
    images = Images(
        pool,
        torch.randint(0, 40, (LANES, batch)),
        torch.rand(LANES, shape[0]) * unit,
        (1 + torch.rand(LANES, shape[0])) / unit,
    )
    n = len(dropouts(networks[0]))
    keys = [torch.tensor([counter.at_step(counter.key(lane, k), 3) for lane in range(LANES)]) for k in range(n)]
    p = [torch.tensor([dropouts(net)[k].p for net in networks], dtype=torch.float64) for k in range(n)]
    targets = torch.softmax(2 * torch.randn(LANES, batch, classes), -1)
    return Step(images, targets, loss, torch.full((LANES,), gamma), keys, p)


def exact(network: nn.Module, lane: int, images: Tensor, step: Step) -> tuple[float, Tensor, Tensor, Tensor]:
    """Loss, gradient, logits of the step, and logits in evaluation; in double precision, lane by lane."""
    network.double().train()
    for k, layer in enumerate(dropouts(network)):
        layer.key, layer.step = counter.key(lane, k), 3
    logits = network(images.double())
    value = exact_loss(step.loss, logits, step.targets[lane].double(), float(step.gamma[lane])).mean()
    gradients = torch.autograd.grad(value, list(network.parameters()))
    network.eval()
    with torch.no_grad():
        evaluated = network(images.double())
    return value.item(), torch.cat([g.flatten() for g in gradients]), logits.detach(), evaluated


def check(
    make: Make, shape: Shape, *, batch: int = 5, loss: str = "cross-entropy", gamma: float = 2.0, floats: bool = False,
    seed: int = 0, lanes: tuple[int, ...] = (0, LANES // 2 - 1, LANES - 1),
) -> None:  # fmt: skip
    """Compare some lanes of an engine in which all lanes train different networks."""
    torch.manual_seed(seed)
    found = signature(make(), shape)
    assert found is not None
    engine = SimdEngine(found)
    networks = [make() for _ in range(LANES)]
    for lane, network in enumerate(networks):
        engine.load(lane, network)
    step = random_step(shape, found.n_classes, batch, loss, gamma, floats, networks)
    losses, hits = engine.step(step)
    logits = engine.logits(step.images)
    dense = step.images.dense()
    for lane in lanes:
        value, gradient, trained, evaluated = exact(networks[lane], lane, dense[lane], step)
        assert losses[lane].item() == pytest.approx(value, rel=1e-5, abs=1e-6)
        assert hits[lane] == (trained.argmax(1) == step.targets[lane].argmax(1)).sum()
        size = float(gradient.abs().max())
        assert float((engine.gradients[:, lane] - gradient).abs().max()) <= TOLERANCE * size
        assert float((logits[lane] - evaluated).abs().max()) <= TOLERANCE * float(evaluated.abs().max())


# -- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 7, 8, (3, 5), (5, 2)])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 2), (2, 1), (3, 0), ((1, 2), (0, 1)), ((2, 1), (3, 3))])
def test_convolutions(kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int) -> None:
    """As the first layer (no gradient of its input), and as the second (with one), with and without biases."""
    shape = (2, 12, 11)

    def first() -> list[nn.Module]:
        return [nn.Conv2d(2, 3, kernel, stride=stride, padding=padding), nn.Tanh()]

    def second() -> list[nn.Module]:
        layer = nn.Conv2d(7, 4, kernel, stride=stride, padding=padding, bias=False)
        return [nn.Conv2d(2, 7, 3, padding=1), nn.Tanh(), layer, nn.Tanh()]

    check(with_head(first, shape), shape, lanes=(1,))
    check(with_head(second, shape), shape, lanes=(LANES - 2,))


@pytest.mark.parametrize(
    "pool",
    [
        lambda: nn.MaxPool2d(2),
        lambda: nn.MaxPool2d(3),
        lambda: nn.MaxPool2d(3, stride=2, padding=1),
        lambda: nn.MaxPool2d(2, stride=3),
        lambda: nn.MaxPool2d((3, 2), stride=(1, 2)),
        lambda: nn.AvgPool2d(2),
        lambda: nn.AvgPool2d(3, stride=2, padding=1),
        lambda: nn.AvgPool2d((2, 3), stride=1),
    ],
    ids=lambda make: str(make()),
)
@pytest.mark.parametrize("unit", [nn.ReLU, nn.Tanh])
def test_pooling(pool: Callable[[], nn.Module], unit: type[nn.Module]) -> None:
    """After a filtered convolution (which may run a maximum piece by piece) and after a plain one."""
    shape = (2, 22, 21)

    def layers() -> list[nn.Module]:
        return [nn.Conv2d(2, 3, 4), unit(), pool(), nn.Conv2d(3, 4, 2, stride=2, padding=1), unit(), pool()]

    check(with_head(layers, shape), shape)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("prelu", "swish")])
def test_activations(name: str) -> None:
    make = ACTIVATIONS[name]
    shape = (1, 9, 9)

    def layers() -> list[nn.Module]:
        inner = [nn.Conv2d(1, 4, 3, padding=1), make(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 9)]
        return [*inner, make(), nn.Linear(9, 8), make(), make()]

    check(with_head(layers, shape), shape, floats=True)


def test_other_settings_of_activations() -> None:
    shape = (1, 4, 4)

    def layers() -> list[nn.Module]:
        units = [nn.LeakyReLU(0.3), nn.ELU(0.5), nn.GELU(approximate="tanh"), nn.LeakyReLU(0.0)]
        return [nn.Flatten(), *(layer for unit in units for layer in (nn.Linear(16, 16), unit))]

    check(with_head(layers, shape), shape)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.9])
def test_dropout_padding_and_enlarging(p: float) -> None:
    """Masks are those of ``layers.Dropout``; a layer of zeros stays zero under an activation that moves 0."""
    shape = (1, 7, 8)

    def layers() -> list[nn.Module]:
        return [
            nn.ZeroPad2d((1, 2, 0, 3)), nn.Sigmoid(), nn.Conv2d(1, 4, 3), nn.Tanh(), Dropout(p), nn.AvgPool2d(2),
            nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(4, 5, 3, stride=2), nn.ZeroPad2d((1, 0, 0, 2)),
            nn.Sigmoid(), Dropout(p / 2), nn.Flatten(), nn.Linear(100, 6), nn.Tanh(), Dropout(p),
        ]  # fmt: skip

    check(with_head(layers, shape), shape, batch=9)


@pytest.mark.parametrize("loss", ["cross-entropy", "nll", "squared-error", "hinge"])
def test_losses(loss: str) -> None:
    shape = (2, 5, 5)
    check(with_head(lambda: [nn.Flatten(), nn.Linear(50, 9), nn.Tanh()], shape, 7), shape, batch=33, loss=loss)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss(gamma: float) -> None:
    shape = (2, 5, 5)
    make = with_head(lambda: [nn.Flatten(), nn.Linear(50, 9), nn.Tanh()], shape, 3)
    check(make, shape, batch=7, loss="focal", gamma=gamma)


def test_batches_larger_than_a_block_and_wide_layers() -> None:
    shape = (3, 10, 10)
    make = with_head(lambda: [nn.Flatten(), nn.Linear(300, 130), nn.Tanh(), nn.Linear(130, 70), nn.Tanh()], shape, 10)
    check(make, shape, batch=200, lanes=(3,))


def test_many_channels() -> None:
    """More outputs than are computed at a time, and blocks of few samples."""
    shape = (3, 16, 16)

    def layers() -> list[nn.Module]:
        first = [nn.Conv2d(3, 40, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(40, 33, 3, padding=1)]
        return [*first, nn.Tanh(), nn.Conv2d(33, 24, 3, stride=2)]

    check(with_head(layers, shape), shape, batch=4, lanes=(2,))


@pytest.mark.parametrize("pool", [None, lambda: nn.MaxPool2d((3, 2)), lambda: nn.AvgPool2d(2)])
@pytest.mark.parametrize("stride", [1, (2, 1), (3, 1)])
def test_rows_in_blocks(pool: Callable[[], nn.Module] | None, stride: int | tuple[int, int]) -> None:
    """Images of which only some rows are computed at a time, with a gradient of their input."""
    shape = (2, 40, 22)

    def layers() -> list[nn.Module]:
        found = [nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 50, 5, stride=stride, padding=(1, 0))]
        return [*found, nn.Tanh(), *([] if pool is None else [pool()])]

    conv = ConvPlan.of(signature_of(layers, shape).operations[2], (4, 38, 20))
    assert conv.rows < conv.oh
    check(with_head(layers, shape), shape, batch=2, lanes=(4,))


@settings(derandomize=True, max_examples=120, deadline=None)
@given(st.data())
def test_random_networks(data: st.DataObject) -> None:
    """Layers in any order that fits."""
    shape = tuple(data.draw(st.tuples(st.integers(1, 3), st.integers(5, 14), st.integers(5, 14)), "input"))
    specs = data.draw(st.lists(st.sampled_from(["conv", "max", "avg", "unit", "drop", "pad"]), max_size=6), "layers")
    numbers = [data.draw(st.tuples(*[st.integers(0, 11)] * 5), "sizes") for _ in specs]

    def layers() -> list[nn.Module]:
        found: list[nn.Module] = []
        for spec, sizes in zip(specs, numbers, strict=True):
            with torch.no_grad():
                now = nn.Sequential(*found)(torch.zeros(1, *shape)).shape[1:]
            found += _layer(spec, sizes, now)
        return found

    batch = data.draw(st.integers(1, 11), "batch")
    check(with_head(layers, shape), shape, batch=batch, floats=True, lanes=(data.draw(st.integers(0, LANES - 1)),))


def _layer(spec: str, sizes: tuple[int, ...], shape: torch.Size) -> list[nn.Module]:
    """One that fits an input of this shape; none if it does not."""
    a, b, c, d, e = sizes
    kernel = (1 + a % 5, 1 + b % 5)
    if spec == "conv":
        padding = (c % 3, d % 3)
        fits = all(side + 2 * p >= k for side, p, k in zip(shape[1:], padding, kernel, strict=True))
        return [nn.Conv2d(shape[0], 1 + e, kernel, (1 + c % 2, 1 + d // 4), padding)] if fits else []
    if spec in ("max", "avg"):
        kernel = (1 + a % 3, 1 + b % 3)
        padding = (min(c % 2, kernel[0] // 2), min(d % 2, kernel[1] // 2))
        fits = all(side + 2 * p >= k for side, p, k in zip(shape[1:], padding, kernel, strict=True))
        pool = nn.MaxPool2d if spec == "max" else nn.AvgPool2d
        return [pool(kernel, (1 + c % 3, 1 + e % 3), padding)] if fits else []
    if spec == "unit":
        return [[nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU][a % 6]()]
    if spec == "drop":
        return [Dropout(0.05 * a)]
    return [nn.ZeroPad2d((a % 3, b % 3, c % 3, d % 3))]


# -- images --------------------------------------------------------------------------------------------------------


def test_pixels_are_taken_as_they_are() -> None:
    """Augmented images, and pools that the program cannot read, give what the same images of a pool give."""
    torch.manual_seed(0)
    shape = (2, 6, 7)
    make = with_head(lambda: [nn.Conv2d(2, 3, 3), nn.Tanh()], shape)
    found = signature(make(), shape)
    assert found is not None
    engine = SimdEngine(found)
    for lane in range(LANES):
        engine.load(lane, make())
    step = random_step(shape, 5, 4, "cross-entropy", 2.0, False, [make()])
    expected = engine.logits(step.images)
    pixels = Images(step.images.pool, pixels=step.images.dense())
    assert torch.equal(engine.logits(pixels), expected)
    odd = Pool("odd", step.images.pool.images.to(torch.int16), step.images.pool.labels, 5)
    again = Images(odd, step.images.index, step.images.shift, step.images.scale)
    assert torch.equal(engine.logits(again), expected)
    assert math.prod(engine.logits(Images(step.images.pool, pixels=torch.zeros(LANES, 0, *shape))).shape) == 0
