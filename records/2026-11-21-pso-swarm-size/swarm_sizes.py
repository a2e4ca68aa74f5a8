import sys, numpy as np, tunesmith as ts, itertools, json
from tunesmith.space import Space
from tunesmith import Float
from tunesmith.samplers import PSOSampler, RandomSampler, QMCSampler

ts.logging.set_verbosity(40)


def make(fn, d, seed):
    r = np.random.default_rng([7, seed, d])
    c = r.uniform(0.15, 0.85, d)

    def f(u):
        z = (u - c) * 10
        if fn == "sphere":
            return float(z @ z)
        if fn == "rosen":
            w = z * 0.4 + 1
            return float(np.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)) if d > 1 else float(z @ z)
        if fn == "rastrigin":
            return float(10 * d + np.sum(z * z - 10 * np.cos(2 * np.pi * z)))
        if fn == "aniso":
            return float(np.sum(z * z * 10.0 ** (-np.arange(d))))  # few matter, like lr
        if fn == "cliff":
            return float(np.sum(np.abs(z)[:2])) + 20 * float(u[0] > c[0] + 0.1)

    return f


def run(sampler, f, d, N, seed):
    s = Space({f"x{i}": Float(0, 1) for i in range(d)})
    names = list(s)
    st = ts.create_study(sampler=sampler, space=s, seed=seed)
    best = []
    for _ in range(N):
        t = st.ask()
        y = f(np.array([t._proposal[n] for n in names]))
        for n in names:
            t._take(n, s[n]) if hasattr(t, "_take") else None
        st.tell(t, y)
        best.append(min(y, best[-1] if best else y))
    return best


if __name__ == "__main__":
    variants = eval(sys.argv[1])
    reps = int(sys.argv[2])
    N = int(sys.argv[3])
    marks = [25, 50, 100, 200]
    marks = [m for m in marks if m <= N]
    tot = {m: [] for m in marks}
    for fn, d in itertools.product(("sphere", "rosen", "rastrigin", "aniso", "cliff"), (2, 4, 6)):
        res = {}
        for k, v in variants.items():
            res[k] = np.array([run(v, make(fn, d, s), d, N, s) for s in range(reps)])
        for m in marks:
            M = np.array([res[k][:, m - 1] for k in variants])  # variants x reps
            rank = M.argsort(0).argsort(0).mean(1)
            tot[m].append(rank)
    for m in marks:
        T = np.array(tot[m])
        print(
            m,
            {k: round(float(x), 2) for k, x in zip(variants, T.mean(0))},
            "se",
            round(float(T.std(0).max() / np.sqrt(len(T))), 2),
        )
