"""What a trial's random generator costs: numpy's SeedSequence against numerics/streams.py. Prints medians."""

import statistics
import sys
import time

import numpy as np

from tunesmith.numerics.streams import stream


def numpys(seed, number):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, number])))


def microseconds(make, n=20_000):
    begin = time.perf_counter()
    for number in range(n):
        make(7, number)
    return (time.perf_counter() - begin) / n * 1e6


rounds = [(microseconds(numpys), microseconds(stream)) for _ in range(9)]
theirs, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
sys.stdout.write(f"SeedSequence {theirs:.1f} us, numerics.streams {ours:.1f} us, ratio {theirs / ours:.1f}\n")
