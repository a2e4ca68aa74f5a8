"""The prototype in which ideas were tried before the sampler was written: all seeds of a table in lockstep, so that an
idea takes seconds. Not tunesmith's code; a plain TPE on ordered and categorical values with these switches:

start: startup trials; sobol, lhs: how they are drawn (else uniform); gamma: "optuna" or [lin | sqrt, share]; cap;
bw, bw_above: widths by "optuna"'s neighbours or "scott"'s rule (times ``scott``, at least ``minb``); cat_rule: "optuna",
or a fixed (aa) or shrinking (scott, var) probability of another choice; ncand: candidates; prior: its weight; multi: a
joint density or marginals; hybrid: 1 sum of both scores, 2 draws of both and marginal score, 4 draws of both and joint
score; eps: share of the uniform distribution in every kernel; weights: of good trials (uniform, ei, rank); allabove: all
trials in the other density; nodup: nothing twice; smooth: how far losses are replaced by a kernel regression before they
are ranked; perdim: the best candidate in every column by itself.

python prototype.py SEEDS '{"gamma": ["lin", 0.15], ...}' ...
"""

import json
import sys
import time

import numpy as np
from scipy.special import ndtr

from tables import development

T = development()
for table in T:
    table.sizes = np.array(table.sizes)
DEF = dict(start=10, sobol=False, gamma="optuna", cap=25, bw="scott", scott=1.0, minb=0.03, clipexp=0.0, cat=0.8, cat_rule="aa", ncand=24,
           prior=1.0, multi=True, weights="uniform", wabove="uniform", nodup=True, sdprior=1, aprior=None, aw=1.0)
def nbelow(n, o):
    g = o["gamma"]
    if g == "optuna": return min(int(np.ceil(.1 * n)), 25)
    if g == "hyperopt": return min(int(np.ceil(.25 * n**.5)), 25)
    kind, b = g
    return max(1, min(int(np.ceil(b * (n if kind == "lin" else n**.5))), o["cap"]))
def masses(X, w, sizes, cat, o, prior, above=False):
    """X (S,n,d) ints, w (S,n). list of (S,n,m) kernel masses."""
    S, n, d = X.shape; out = []
    neff = w.sum(1)**2 / (w**2).sum(1)
    for j, (m, c) in enumerate(zip(sizes, cat)):
        m = int(m); k = X[:, :, j]
        if c:
            one = (k[:, :, None] == np.arange(m))
            if o["cat_rule"] == "optuna": M = (one + prior / (n + 1)) / (1 + m * prior / (n + 1))
            else:
                if o["cat_rule"] == "aa": h = np.full(S, max(o["cat"], 1 / m))
                elif o["cat_rule"] == "scott": h = 1 - (1 - 1 / m) * np.minimum(1, o["cat"] * neff**(-1 / (d + 4)))
                elif o["cat_rule"] == "var":
                    p = (one * w[:, :, None]).sum(1) / w.sum(1)[:, None]; g = 1 - (p**2).sum(1)
                    g = (neff * g + (1 - 1 / m)) / (neff + 1)
                    h = 1 - np.minimum(o["cat"] * g * neff**(-1 / (d + 4)), 1 - 1 / m)
                elif o["cat_rule"] == "like":  # same as a gaussian over m ordered cells on average
                    h = 1 - (1 - 1 / m) * np.minimum(1, o["cat"] * 12**.5 * 0)
                h = np.broadcast_to(h, S)[:, None, None]
                M = np.where(one, h, (1 - h) / max(m - 1, 1))
        else:
            u = (k + .5) / m; e = np.linspace(0, 1, m + 1)
            rule = o.get("bw_above", o["bw"]) if above else o["bw"]
            if rule == "optuna":
                i = np.argsort(u, 1, kind="stable"); su = np.take_along_axis(u, i, 1)
                p = np.concatenate([np.zeros((S, 1)), su, np.ones((S, 1))], 1)
                s_ = np.maximum(p[:, 1:-1] - p[:, :-2], p[:, 2:] - p[:, 1:-1])
                if n >= 2: s_[:, 0] = p[:, 2] - p[:, 1]; s_[:, -1] = p[:, -2] - p[:, -3]
                s = np.empty_like(s_); np.put_along_axis(s, i, s_, 1)
                s = np.clip(s, 1 / min(100, 2 + n), 1)
            else:
                mu = (w * u).sum(1) / w.sum(1); var = (w * (u - mu[:, None])**2).sum(1) / w.sum(1)
                q = o["sdprior"]; sd = np.sqrt((neff * var + q / 12) / (neff + q))
                if rule == "fixed": sd = np.full(S, 12**-.5)
                s = o["scott"] * sd * neff**(-1 / (d + 4))
                lo = o["minb"] if not o["clipexp"] else max(1 / (n + 2)**o["clipexp"], o["minb"])
                s = np.clip(s, lo, 1)[:, None]
            if above and "awide" in o: s = s * o["awide"]
            if o.get("ordmin"): s = np.maximum(s, o["ordmin"] / m)
            M = np.diff(ndtr((e - u[:, :, None]) / s[:, :, None]), axis=2); M /= M.sum(2, keepdims=True)
        if o.get("eps"): M = (1 - o["eps"]) * M + o["eps"] / m
        out.append(M)
    return out
def logpdf(x, Ms, w, sizes, o, prior):
    """x (S,c,d) -> (S,c)"""
    W = np.concatenate([w, np.full((len(w), 1), prior)], 1); lw = np.log(np.maximum(W / W.sum(1, keepdims=True), 1e-300))
    tot = 0.; n = w.shape[1]; per = []
    for j, M in enumerate(Ms):
        L = np.log(np.maximum(M, 1e-300)); g = np.take_along_axis(L.transpose(0, 2, 1), np.broadcast_to(x[:, :, j, None], x.shape[:2] + (n,)), 1)
        g = np.concatenate([g, np.full(g.shape[:2] + (1,), -np.log(M.shape[2]))], 2)
        if o["multi"]: tot = tot + g
        else:
            l1 = lse(g + lw[:, None]); per.append(l1); tot = tot + l1
    if o.get("percol"): return np.stack(per, 2)
    return lse(tot + lw[:, None]) if o["multi"] else tot
def lse(a):
    m = a.max(-1, keepdims=True); return np.log(np.exp(a - m).sum(-1)) + m[..., 0]
def draw(Ms, w, sizes, o, rng, c, prior):
    S, n = w.shape; W = np.concatenate([w, np.full((S, 1), prior)], 1); cw = np.cumsum(W, 1) / W.sum(1, keepdims=True)
    def pick(): return (cw[:, None, :-1] < rng.random((S, c))[:, :, None]).sum(2)
    k = pick(); out = np.empty((S, c, len(sizes)), int)
    for j, M in enumerate(Ms):
        if not o["multi"]: k = pick()
        m = M.shape[2]; P = np.concatenate([M, np.full((S, 1, m), 1 / m)], 1); cs = np.cumsum(P, 2)
        rows = np.take_along_axis(cs, np.broadcast_to(k[:, :, None], (S, c, m)), 1)
        out[:, :, j] = (rows[:, :, :-1] < rng.random((S, c))[:, :, None]).sum(2)
    return out
def start(t, S, o, rng):
    d = len(t.sizes); n = 60
    if o["sobol"]:
        from scipy.stats import qmc
        U = np.array([qmc.Sobol(d, rng=np.random.default_rng([s, 1])).random(64)[:n] for s in range(S)])
    elif o.get("lhs"):
        from scipy.stats import qmc
        U = np.array([np.vstack([qmc.LatinHypercube(d, rng=np.random.default_rng([s, 1])).random(o["start"]), np.random.default_rng([s,2]).random((n - o["start"], d))]) for s in range(S)])
    else: U = np.array([np.random.default_rng([s, 1]).random((n, d)) for s in range(S)])
    return np.floor(U * t.sizes).astype(int)
def search(t, S, o, N=60):
    rng = np.random.default_rng(7); d = len(t.sizes)
    I = start(t, S, o, rng); X = np.zeros((S, 0, d), int); y = np.zeros((S, 0)); cells = np.zeros((S, 0), int)
    noise = np.random.default_rng(99).random((S, N)); ar = np.arange(S)
    for n in range(N):
        if n < o["start"]: x = I[:, n]
        else:
            nb = nbelow(n, o); order = np.argsort(y, 1, kind="stable")
            if o.get("smooth"):
                r = np.argsort(order, 1) / n
                if o.get("val"): r = (y - np.median(y, 1, keepdims=True)) / (np.median(y, 1, keepdims=True) - y.min(1, keepdims=True) + 1e-12); r = np.minimum(r, 1)
                Ms = masses(X, np.ones((S, n)), t.sizes, t.cat, {**o, "bw": "scott", "bw_above": "scott", "scott": o.get("sscott", 1.0)}, o["prior"])
                lk = 0.
                for j, M in enumerate(Ms):
                    K = np.take_along_axis(M.transpose(0, 2, 1), np.broadcast_to(X[:, :, j, None], (S, n, n)), 1)  # K[s, a, b] mass at a of kernel b
                    lk = lk + np.log(K * M.shape[2])
                K = np.exp(lk); i_ = np.arange(n); K[:, i_, i_] = 0
                c0 = o.get("sprior", 1.0)
                reg = ((K * r[:, None]).sum(2) + c0 * r.mean(1, keepdims=True)) / (K.sum(2) + c0)
                order = np.argsort((1 - o["smooth"]) * r + o["smooth"] * reg, 1, kind="stable")
            lo, hi = order[:, :nb], order[:, nb:]
            ylo = np.take_along_axis(y, lo, 1)
            if o["weights"] == "ei":
                thr = np.take_along_axis(y, hi[:, :1], 1); w = np.maximum(thr - ylo, 1e-12); w = w / w.mean(1, keepdims=True)
            elif o["weights"] == "rank": w = np.log(nb + 1.) - np.log(np.arange(nb) + 1.); w = np.broadcast_to(w / w.mean(), (S, nb))
            elif o["weights"] == "linear": w = np.broadcast_to((nb - np.arange(nb)) / (nb + 1) * 2, (S, nb))
            else: w = np.ones((S, nb))
            if o.get("allabove"): hi = order
            wh = np.ones((S, hi.shape[1]))
            pl = o["prior"]; ph = pl if o["aprior"] is None else o["aprior"]
            Xl = np.take_along_axis(X, lo[:, :, None], 1); Xh = np.take_along_axis(X, hi[:, :, None], 1)
            Ml = masses(Xl, w, t.sizes, t.cat, o, pl); Mh = masses(Xh, wh, t.sizes, t.cat, o, ph, True)
            x = draw(Ml, w, t.sizes, o, rng, o["ncand"], pl)
            if o.get("hybrid"):
                oi = {**o, "multi": False}; om = {**o, "multi": True}
                x2 = draw(Ml, w, t.sizes, oi, rng, o["ncand"], pl)
                x1 = draw(Ml, w, t.sizes, om, rng, o["ncand"], pl)
                x = np.concatenate([x1, x2], 1) if o["hybrid"] != 3 else x1
                sm = logpdf(x, Ml, w, t.sizes, om, pl) - logpdf(x, Mh, wh, t.sizes, om, ph); si = logpdf(x, Ml, w, t.sizes, oi, pl) - logpdf(x, Mh, wh, t.sizes, oi, ph)
                sc = sm + si if o["hybrid"] in (1, 3) else si if o["hybrid"] == 2 else sm
            else: sc = logpdf(x, Ml, w, t.sizes, o, pl) - o["aw"] * logpdf(x, Mh, wh, t.sizes, o, ph)
            if o.get("perdim"):
                oi = {**o, "multi": False, "percol": 1}
                pc = logpdf(x, Ml, w, t.sizes, oi, pl) - logpdf(x, Mh, wh, t.sizes, oi, ph)   # S,c,d
                rk = np.argsort(-pc, 1, kind="stable")
                x = np.take_along_axis(x, rk, 1); sc = -np.arange(x.shape[1])[None] * np.ones((S, 1))
            if o["nodup"]:
                cc = np.array([np.ravel_multi_index(x[s].T, t.sizes) for s in range(S)])
                dup = (cc[:, :, None] == cells[:, None, :]).any(2); alld = dup.all(1); sc = np.where(dup, -np.inf, sc)
            b = sc.argmax(1); x = x[ar, b]
            if o["nodup"] and alld.any():
                x[alld] = I[alld, n]
        c = np.ravel_multi_index(x.T, t.sizes); v = t.vals[c, np.floor(noise[:, n] * t.reps[c]).astype(int)]
        X = np.concatenate([X, x[:, None]], 1); y = np.concatenate([y, v[:, None]], 1); cells = np.concatenate([cells, c[:, None]], 1)
    return np.array([t.regret(cells[s], y[s]) for s in range(S)])
def run(S, **kw):
    o = {**DEF, **kw}; t0 = time.time()
    A = np.array([search(t, S, o)[:, [19, 39, 59]] for t in T])
    m = A.mean((0, 1)); se = A.mean(0).std(0) / S**.5
    print(json.dumps(kw), m.round(3), "se", se.round(4), "| mlp", A[:4].mean((0, 1)).round(3), "fc", A[4:6].mean((0, 1)).round(3), "nas", A[6].mean(0).round(3), f"{time.time()-t0:.0f}s", flush=True)
    return A
if __name__ == "__main__":
    S = int(sys.argv[1])
    for a in sys.argv[2:]: run(S, **json.loads(a))
