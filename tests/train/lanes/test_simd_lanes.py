"""A lane's numbers are its own: the same bits in every lane, beside any neighbours, with 8 and with 16 lanes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import counter
from tunesmith.train.device import working
from tunesmith.train.hyperparameters import Hyperparameters
from tunesmith.train.job import Pool
from tunesmith.train.lanes.engine import Images, Step
from tunesmith.train.lanes.simd import features
from tunesmith.train.lanes.simd.buffers import aligned
from tunesmith.train.lanes.simd.engine import SimdEngine
from tunesmith.train.lanes.simd.update import SimdUpdate
from tunesmith.train.layers import Dropout
from tunesmith.train.signature import signature

LANES = SimdEngine.width()
pytestmark = pytest.mark.skipif(LANES == 0, reason="no SIMD lanes on this processor")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with working(torch.device("cpu"), 1):
        yield


WIDTHS = [width for width in (8, 16) if width <= LANES]
SHAPE = (2, 13, 12)


def network() -> nn.Module:
    """Filtered and plain convolutions, a maximum within a convolution, inputs of no output, dropout, linear layers."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.Tanh(),
        nn.Conv2d(6, 5, 1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(45, 20), nn.Tanh(), Dropout(0.3),
        nn.Linear(20, 4),
    )  # fmt: skip


class Content:
    """What one lane computes with."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        torch.manual_seed(seed)
        self.seed, self.network = seed, network()
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.mul_(scale)
        self.index = torch.randint(0, 60, (4, 9))
        self.targets = torch.softmax(torch.randn(4, 9, 4), -1)
        self.shift, self.scale = torch.rand(2) * 200, 1 / (50 + torch.rand(2) * 50)
        self.hyperparameters = Hyperparameters(
            optimizer=("sgd", "adam", "adamw", "rmsprop")[seed % 4], lr=0.01 / (1 + seed),
            weight_decay=0.01 * (seed % 3), clip_norm=0.5 * (seed % 2), l1=1e-3 * (seed % 2),
        )  # fmt: skip


def pool() -> Pool:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, *SHAPE), dtype=torch.uint8, generator=generator)
    return Pool("random", pixels, torch.zeros(60, dtype=torch.int64), 4)


def train(contents: dict[int, Content], width: int) -> dict[int, list[Tensor]]:
    """Losses, hits, gradients, parameters of a few steps and the logits after them, of each lane that has something."""
    found = signature(network(), SHAPE)
    assert found is not None
    engine = SimdEngine(found, width)
    update = SimdUpdate(engine.lanes, engine.axis, engine.parameters)
    filled = [contents.get(lane, next(iter(contents.values()))) for lane in range(width)]
    for lane, content in contents.items():
        engine.load(lane, content.network)
        update.put(lane, content.hyperparameters)
    outcome: dict[int, list[Tensor]] = {lane: [] for lane in contents}
    data, shift = pool(), torch.stack([c.shift for c in filled])
    scale = torch.stack([c.scale for c in filled])
    for at in range(4):
        images = Images(data, torch.stack([c.index[at] for c in filled]), shift, scale)
        keys = torch.tensor([counter.at_step(counter.key(c.seed, 0), at) for c in filled])
        p = torch.tensor([0.3] * width, dtype=torch.float64)
        targets = torch.stack([c.targets[at] for c in filled])
        losses, hits = engine.step(Step(images, targets, "cross-entropy", torch.full((width,), 2.0), [keys], [p]))
        for lane, found_ in outcome.items():
            found_ += [losses[lane].clone(), hits[lane].clone(), engine.gradients[:, lane].clone()]
        update.step(engine.parameters, engine.gradients, [c.hyperparameters.lr for c in filled])
    logits = engine.logits(Images(data, torch.stack([c.index[0] for c in filled]), shift, scale))
    for lane, found_ in outcome.items():
        found_ += [engine.parameters[:, lane].clone(), logits[lane].clone()]
    return outcome


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Bit for bit."""
    return [x.numpy().tobytes() for x in one] == [x.numpy().tobytes() for x in other]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_lane_alone_is_the_same_in_every_lane_and_width(seed: int) -> None:
    expected = train({0: Content(seed)}, WIDTHS[0])[0]
    assert all(torch.isfinite(x.to(torch.float64)).all() for x in expected)
    for width in WIDTHS:
        for lane in {0, 3, 7, width - 1}:
            assert same(train({lane: Content(seed)}, width)[lane], expected), (width, lane)


def test_neighbours_change_nothing() -> None:
    """Whatever they are: ordinary, with huge weights, with NaN, with infinities."""
    expected = train({0: Content(1)}, LANES)[0]
    ordinary = {lane: Content(lane) for lane in range(LANES)}
    assert same(train(ordinary, LANES)[1], expected)
    wild = {lane: Content(lane, (1e20, float("nan"), float("inf"), 0.0)[lane % 4]) for lane in range(LANES)}
    wild[5] = Content(1)
    found = train(wild, LANES)
    assert same(found[5], expected)
    assert torch.isnan(found[1][0])  # the neighbours are as bad as they look
    assert same(train({**ordinary, 5: Content(1)}, LANES)[5], expected)


def test_a_lane_is_clean_after_a_bad_one() -> None:
    """Nothing of a diverged training stays behind in the memory of its lane."""
    found = signature(network(), SHAPE)
    assert found is not None
    engine = SimdEngine(found)
    content, data = Content(1), pool()
    images = Images(
        data, content.index[0].repeat(LANES, 1), content.shift.repeat(LANES, 1), content.scale.repeat(LANES, 1)
    )
    keys, p = torch.tensor([counter.at_step((1, 2), 0)] * LANES), torch.tensor([0.3] * LANES, dtype=torch.float64)
    step = Step(images, content.targets[0].repeat(LANES, 1, 1), "cross-entropy", torch.ones(LANES), [keys], [p])
    engine.load(3, content.network)
    expected = [x[3].clone() for x in engine.step(step)] + [engine.gradients[:, 3].clone(), engine.logits(images)[3]]
    engine.parameters[:, 3] = float("nan")
    losses, _ = engine.step(step)
    assert torch.isnan(losses[3])
    assert torch.isnan(engine.gradients[:, 3]).any()
    assert torch.isfinite(losses[[0, 1, 2, 4]]).all()
    engine.load(3, content.network)
    again = [x[3].clone() for x in engine.step(step)] + [engine.gradients[:, 3].clone(), engine.logits(images)[3]]
    assert same(again, expected)


def test_two_engines_in_two_threads() -> None:
    contents = {lane: Content(lane) for lane in range(LANES)}
    expected = train(contents, LANES)
    found: list[dict[int, list[Tensor]]] = []
    threads = [threading.Thread(target=lambda: found.append(train(contents, LANES))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert all(same(outcome[lane], expected[lane]) for outcome in found for lane in contents)


def test_networks_come_and_go() -> None:
    found = signature(network(), SHAPE)
    assert found is not None
    engine = SimdEngine(found)
    torch.manual_seed(1)
    given, taken = network(), network()
    engine.load(2, given)
    engine.store(2, taken)
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), taken.parameters(), strict=True))
    assert not engine.parameters[:, [0, 1, 3]].any()
    with pytest.raises(InvalidValueError, match=f"have {found.n_parameters} parameters, not 6"):
        engine.load(0, nn.Linear(2, 2))


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (lambda: [nn.PReLU()], "'prelu'"),
        (lambda: [nn.BatchNorm2d(2)], "'batch-norm'"),
        (lambda: [nn.LeakyReLU(-0.1)], "negative slope"),
        (lambda: [nn.MaxPool2d(16, padding=8)], "more than the 255"),
    ],
)
def test_unsupported_layers(layers: Callable[[], list[nn.Module]], reason: str) -> None:
    inner = layers()
    with torch.no_grad():
        size = nn.Sequential(*inner, nn.Flatten())(torch.zeros(2, *SHAPE)).shape[1]
    found = signature(nn.Sequential(*inner, nn.Flatten(), nn.Linear(size, 3)), SHAPE)
    assert found is not None
    assert reason in SimdEngine.supports(found)
    with pytest.raises(InvalidValueError, match="cannot be trained in SIMD lanes"):
        SimdEngine(found)


def test_unsupported_places(monkeypatch: pytest.MonkeyPatch) -> None:
    found = signature(network(), SHAPE)
    assert found is not None
    assert SimdEngine.supports(found) == ""
    assert "plain sequence" in SimdEngine.supports(None)
    assert "no parameters" in SimdEngine.supports(signature(nn.Flatten(), SHAPE))
    assert "for the CPU" in SimdEngine.supports(found, torch.device("cuda"))
    with pytest.raises(InvalidValueError, match="not 4"):
        SimdEngine(found, 4)
    monkeypatch.setattr(features, "lanes", lambda: (0, "no such processor"))
    assert SimdEngine.supports(found) == "no such processor"
    monkeypatch.setattr(features, "lanes", lambda: (8, ""))
    with pytest.raises(InvalidValueError, match="has 8 lanes"):
        SimdEngine(found, 16)


def test_bad_steps() -> None:
    found = signature(network(), SHAPE)
    assert found is not None
    engine, data, c = SimdEngine(found), pool(), Content(0)
    good = Images(data, c.index[0].repeat(LANES, 1), c.shift.repeat(LANES, 1), c.scale.repeat(LANES, 1))
    targets, ones = c.targets[0].repeat(LANES, 1, 1), torch.ones(LANES)
    keys, p = torch.zeros(LANES, 2, dtype=torch.int64), torch.zeros(LANES, dtype=torch.float64)
    with pytest.raises(InvalidValueError, match=r"Unknown loss 'l3'; known: cross-entropy, .*hinge"):
        engine.step(Step(good, targets, "l3", ones, [keys], [p]))
    with pytest.raises(InvalidValueError, match="1 dropout layers"):
        engine.step(Step(good, targets, "hinge", ones, [], []))
    for row in (-1, 60):
        index = torch.full((LANES, 9), row)
        with pytest.raises(InvalidValueError, match="0 to 59"):
            engine.logits(Images(data, index, good.shift, good.scale))
    with pytest.raises(InvalidValueError, match="takes images of shape"):
        engine.logits(Images(data, pixels=torch.zeros(LANES, 2, *SHAPE[1:], 1)))


# -- processes -----------------------------------------------------------------------------------------------------

_SCRIPT = """
import numpy as np
from tunesmith.train.lanes.simd import compiling, features, update_kernels
width = features.lanes()[0]
x = np.zeros((4, 16), np.float32)
at = x.ctypes.data // 64 * 64 + 64  # the next place where a line may begin
lines = x.reshape(-1)[(at - x.ctypes.data) // 4 :]
lines[: 2 * width] = 3.0
lines[2 * width : 3 * width] = 2.0
compiling.function(update_kernels.shrink, width)(at, 2, at + 8 * width, 0)
assert lines[: 3 * width].tolist() == [6.0] * 2 * width + [2.0] * width, lines
print("good")
"""


def outcome(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def check(process: subprocess.Popen[str]) -> None:
    out, error = process.communicate(timeout=100)
    assert (out, process.returncode) == ("good\n", 0), error


def test_processes_share_what_was_compiled(tmp_path: Path) -> None:
    """Two that compile at the same time, and one after them that loads."""
    both = [outcome(_SCRIPT, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    for process in both:
        check(process)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nb?")}
    assert len(before) == 2  # the machine code and its index
    check(outcome(_SCRIPT, NUMBA_CACHE_DIR=str(tmp_path)))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nb?")} == before


def test_numba_is_imported_when_it_is_needed() -> None:
    modules = "tunesmith.train, tunesmith.train.lanes.simd.engine, tunesmith.train.lanes.simd.update"
    check(outcome(f"import sys, {modules}; assert 'numba' not in sys.modules; print('good')"))


def test_without_a_folder_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process compiles for itself."""
    from tunesmith.train.lanes.simd import compiling, update_kernels

    genuine = compiling._cfunc

    def no_folder(*args: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return genuine(*args, **options)

    monkeypatch.setattr(compiling, "_cfunc", no_folder)
    monkeypatch.setattr(compiling, "_compiled", {})
    x, rows = aligned(2, LANES) + 3.0, aligned(1, LANES) + 2.0
    compiling.function(update_kernels.shrink, LANES)(x.data_ptr(), 2, rows.data_ptr(), 0)
    assert x.unique().tolist() == [6.0]
