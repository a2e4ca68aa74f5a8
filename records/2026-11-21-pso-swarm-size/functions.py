import numpy as np


def make(fn, d, seed):
    r = np.random.default_rng([7, seed, d])
    c = r.uniform(0.15, 0.85, d)

    def f(U):
        U = np.atleast_2d(U)
        z = (U - c) * 10
        if fn == "sphere":
            return (z * z).sum(1)
        if fn == "rosen":
            w = z * 0.4 + 1
            return np.sum(100 * (w[:, 1:] - w[:, :-1] ** 2) ** 2 + (1 - w[:, :-1]) ** 2, 1)
        if fn == "rastrigin":
            return 10 * d + np.sum(z * z - 10 * np.cos(2 * np.pi * z), 1)

    return f


CASES = [
    (fn, 4, topo, S, T)
    for fn in ("sphere", "rosen", "rastrigin")
    for topo in ("global", "ring")
    for S, T in ((20, 40), (5, 20))
]
REPS = 40
