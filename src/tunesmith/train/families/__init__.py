"""Model families, one file each. The file's name (hyphens for underscores) is the family's name. It defines

- ``DEFAULTS``: architecture hyperparameter -> value it has when nothing else is said;
- ``MEANINGS``: architecture hyperparameter -> what it is, in a few words (optional);
- ``space(size) -> Space``: the search space over them, for ``"small"``, ``"medium"`` and ``"all"``; may be empty;
- ``build(configuration, input_shape, n_classes, seed) -> torch.nn.Module``: the network, the same for the same seed,
  without touching torch's global random numbers (use :mod:`tunesmith.train.layers`). ``configuration`` may leave
  hyperparameters out and may hold none that ``DEFAULTS`` does not know. What is impossible for this input raises
  :class:`~tunesmith.train.errors.InvalidArchitectureError`.

Names that families share (``layers``, ``width``, ``activation``, ``norm_layer``, ``dropout``) mean the like in all
of them, and none is a name of :class:`~tunesmith.train.hyperparameters.Hyperparameters`. In the spaces of size "medium"
widths go in steps, so that more trials of a study have the same shapes and can train in one stack.
"""
