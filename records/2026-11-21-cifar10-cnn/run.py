"""The 10,790-parameter CNN on CIFAR-10: quasi-random against random search, 25 trials, all of them in lanes.

    TUNESMITH_DATA=... python records/2026-11-21-cifar10-cnn/run.py ROW [EPOCHS [REPEATS [CORES]]]

ROW is "official" (trained on 50,000 images and validated on the official 10,000 test images, as in the publication) or
"proper" (45,000 and 5,000 images, the test part untouched until the end). Learning rate in [1e-4, 1e-1] and weight
decay in [0, 1e-3], both on linear scales; SGD with momentum 0.9, batches of 64, the mean cross-entropy. The published
run has 10 repeats of 50 epochs. The same call goes on where it was interrupted.
"""

import sys
from pathlib import Path

import tunesmith as ts
from tunesmith import train
from tunesmith.compare import compare
from tunesmith.compare.report import write_all
from tunesmith.compare.tables import print_tables

HERE = Path(__file__).parent


def main(row, epochs=3, repeats=8, cores=None):
    validation = {"official": "official", "proper": 5000}[row]
    space = ts.Space({"lr": ts.Float(1e-4, 1e-1), "weight_decay": ts.Float(0.0, 1e-3)})
    problem = train.Problem(
        data="cifar10", model="cnn", space=space, epochs=int(epochs), validation=validation, device="cpu",
        fixed={"momentum": 0.9, "batch_size": 64},
    )
    out = HERE / f"{row}-{epochs}-epochs"
    jobs = None if cores is None else int(cores)
    result = compare(problem, ["sobol", "random"], trials=25, repeats=int(repeats), out=out, lanes="auto", n_jobs=jobs)
    write_all(result, out)
    print_tables(result)


main(*sys.argv[1:])
