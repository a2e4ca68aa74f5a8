"""Model families, one file each. The file's name (hyphens for underscores) is the family's name. It defines

- ``DEFAULTS``: architecture hyperparameter -> value it has when nothing else is said;
- ``space(size) -> Space``: the search space over them, for ``"small"``, ``"medium"`` and ``"large"``; may be empty;
- ``build(configuration, input_shape, n_classes, seed) -> torch.nn.Module``: the network, the same for the same seed,
  without touching torch's global random numbers (use :mod:`tunesmith.train.layers`). ``configuration`` may leave
  hyperparameters out and may hold none that ``DEFAULTS`` does not know.
"""
