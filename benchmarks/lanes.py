"""Speed of SIMD lanes against a customary PyTorch script on one core, in one run. Prints ratios.

    python benchmarks/lanes.py [--rounds 7] [--steps 20] [--batch-size 64] [--avx2] [--json FILE]

The script that is compared with trains one configuration after another: eager PyTorch, a DataLoader, SGD with momentum,
one thread. It is timed with two loaders: "customary" has a dataset that scales an image when it is asked for it, as
data sets with transforms do; "lean" has all images scaled in memory as a TensorDataset. The lanes train a configuration
in each lane, with an order of images and a learning rate of its own, from the 8-bit images: everything from the rows of
the batch to the update is timed.

Rounds are interleaved and medians are reported, because machines are noisy; the ratio is also given for the fastest
round of each. Time is processor time of this process, so that other processes count little. ``--avx2`` restricts both
sides to AVX2, 8 lanes and 16 registers, as on a processor without AVX-512.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tunesmith.train.hyperparameters import Hyperparameters
from tunesmith.train.job import Pool
from tunesmith.train.lanes.engine import Images, Step
from tunesmith.train.lanes.simd.engine import SimdEngine
from tunesmith.train.lanes.simd.update import SimdUpdate
from tunesmith.train.losses import targets
from tunesmith.train.model_families import build_model
from tunesmith.train.signature import signature

MEAN, DEVIATION = 120.0, 60.0


@dataclass(frozen=True)
class Case:
    """A network and the shape of its images."""

    name: str
    family: str
    configuration: dict[str, Any]
    shape: tuple[int, int, int]

    def network(self, seed: int) -> nn.Module:
        return build_model(self.family, self.configuration, self.shape, 10, seed)


CASES = [
    Case("cnn, 10,790 parameters", "cnn", {}, (3, 32, 32)),
    Case("mlp, 784-128-10", "mlp", {}, (1, 28, 28)),
    Case("lenet5, relu, max", "lenet5", {"activation": "relu", "pooling": "max"}, (1, 28, 28)),
    Case("lenet5, tanh, avg", "lenet5", {"activation": "tanh", "pooling": "avg"}, (1, 28, 28)),
]


class ScaledImages(Dataset):  # type: ignore[type-arg]
    """Images that are scaled when they are asked for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return (self.images[i].to(torch.float32) - MEAN) / DEVIATION, self.labels[i]


def script(case: Case, pool: Pool, batch_size: int, *, lean: bool) -> float:
    """Seconds a step of the customary script."""
    network = case.network(0)
    dataset: Any = ScaledImages(pool.images, pool.labels)
    if lean:
        dataset = TensorDataset((pool.images.to(torch.float32) - MEAN) / DEVIATION, pool.labels)
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    network.train()
    begin, total = time.process_time(), 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(network(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return (time.process_time() - begin) / len(loader)


class Lanes:
    """Configurations in lanes."""

    def __init__(self, case: Case, pool: Pool, batch_size: int) -> None:
        found = signature(case.network(0), case.shape)
        assert found is not None
        self.engine, self.pool, self.batch_size = SimdEngine(found), pool, batch_size
        self.update = SimdUpdate(self.engine.lanes, self.engine.axis, self.engine.parameters)
        for lane in range(self.engine.lanes):
            self.engine.load(lane, case.network(lane))
            self.update.put(lane, Hyperparameters(lr=0.001 * (1 + lane), momentum=0.9))

    def epoch(self) -> float:
        """Seconds a step and lane."""
        lanes, n, channels = self.engine.lanes, len(self.pool.labels), self.pool.images.shape[1]
        shift, scale = torch.full((lanes, channels), MEAN), torch.full((lanes, channels), 1 / DEVIATION)
        begin, total = time.process_time(), torch.zeros(lanes)
        index = torch.stack([torch.randperm(n) for _ in range(lanes)])
        steps = range(0, n, self.batch_size)
        for start in steps:
            rows = index[:, start : start + self.batch_size]
            images = Images(self.pool, rows, shift, scale)
            step = Step(
                images, targets(self.pool.labels[rows], 10), "cross-entropy", torch.full((lanes,), 2.0), [], []
            )  # fmt: skip
            loss, _ = self.engine.step(step)
            self.update.step(self.engine.parameters, self.engine.gradients, [0.001 * (1 + k) for k in range(lanes)])
            total += loss * rows.shape[1]
        return (time.process_time() - begin) / len(steps) / lanes


def measure(case: Case, rounds: int, steps: int, batch_size: int) -> dict[str, Any]:
    """Seconds a step and configuration of all three, round by round."""
    n = steps * batch_size
    images = torch.randint(0, 256, (n, *case.shape), dtype=torch.uint8)
    pool = Pool("random", images, torch.randint(0, 10, (n,)), 10)
    begin = time.perf_counter()
    lanes = Lanes(case, pool, batch_size)
    lanes.epoch()
    first = time.perf_counter() - begin
    runs: dict[str, Callable[[], float]] = {
        "customary": lambda: script(case, pool, batch_size, lean=False),
        "lean": lambda: script(case, pool, batch_size, lean=True),
        "lanes": lanes.epoch,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run())
    return {"case": case.name, "lanes_per_engine": lanes.engine.lanes, "first_use_s": first, "seconds": times}


def show(row: dict[str, Any]) -> None:
    times = row["seconds"]
    middle = {name: statistics.median(found) for name, found in times.items()}
    best = {name: min(found) for name, found in times.items()}
    cells = "".join(f"{1000 * middle[name]:>11.3f}" for name in times)
    ratios = "".join(
        f"{middle[name] / middle['lanes']:>8.2f}x ({best[name] / best['lanes']:.2f})" for name in ("customary", "lean")
    )
    print(f"{row['case']:24}{row['lanes_per_engine']:>6}{cells}{ratios}   {row['first_use_s']:.1f}", flush=True)


def restricted() -> dict[str, str]:
    """Settings under which neither numba nor torch uses AVX-512."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    named = [("+" if there and not name.startswith("avx512") else "-") + name for name, there in features.items()]
    return {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": ",".join(named),
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="steps of a round")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--avx2", action="store_true", help="without AVX-512")
    parser.add_argument("--json", type=Path, help="write the raw numbers here")
    args = parser.parse_args()
    if args.avx2 and os.environ.get("ATEN_CPU_CAPABILITY") != "avx2":
        sys.exit(subprocess.run([sys.executable, *sys.argv], env={**os.environ, **restricted()}).returncode)
    torch.set_num_threads(1)
    print(f"{'ms a step':24}{'lanes':>6}{'customary':>11}{'lean':>11}{'in a lane':>11}", end="")
    print(f"{'customary':>16}{'lean':>16}   first use, s")
    rows = []
    for case in CASES:
        rows.append(measure(case, args.rounds, args.steps, args.batch_size))
        show(rows[-1])
    if args.json:
        info = {
            "machine": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
            "torch": torch.__version__, "torch_isa": torch.backends.cpu.get_cpu_capability(),
            "batch_size": args.batch_size, "steps": args.steps, "rows": rows,
        }  # fmt: skip
        args.json.write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
