import numpy as np, pyswarms as ps, json, logging

logging.disable(50)
from functions import *

out = {}
for fn, d, topo, S, T in CASES:
    r = []
    for s in range(REPS):
        np.random.seed(s)
        f = make(fn, d, s)
        o = {"c1": 1.49618, "c2": 1.49618, "w": 0.7298}
        b = (np.zeros(d), np.ones(d))
        kw = dict(
            n_particles=S,
            dimensions=d,
            bounds=b,
            velocity_clamp=(-0.5, 0.5),
            bh_strategy="reflective",
            vh_strategy="invert",
        )
        if topo == "global":
            opt = ps.single.GlobalBestPSO(options=o, **kw)
        else:
            opt = ps.single.LocalBestPSO(options={**o, "k": 3, "p": 2}, **kw)
        # start velocities as in SPSO: uniform in [0,1]-x
        opt.swarm.velocity = np.random.rand(S, d) - opt.swarm.position
        c, _ = opt.optimize(f, iters=T, verbose=False)
        r.append(float(c))
    out[f"{fn}/{topo}/{S}x{T}"] = r
json.dump(out, open("pyswarms_runs.json", "w"))
