import numpy as np, json, tunesmith as ts
from scipy.stats import mannwhitneyu
from tunesmith.samplers import PSOSampler
from tunesmith.space import Space
from tunesmith import Float
from functions import *

ts.logging.set_verbosity(40)
psw = json.load(open("pyswarms_runs.json"))
for fn, d, topo, S, T in CASES:
    k = f"{fn}/{topo}/{S}x{T}"
    r = []
    sp = Space({f"x{i}": Float(0, 1) for i in range(d)})
    for s in range(REPS):
        f = make(fn, d, s)
        st = ts.create_study(sampler=PSOSampler(swarm_size=S, topology=topo, init="random"), space=sp, seed=s)
        st.optimize(lambda t: float(f(np.array([t.suggest_float(n, 0, 1) for n in sp]))[0]), n_trials=S * T)
        r.append(st.best_value)
    print(
        f"{k:24s} ours {np.median(r):.4g}  pyswarms {np.median(psw[k]):.4g} p={mannwhitneyu(r, psw[k]).pvalue:.2f}",
        flush=True,
    )
