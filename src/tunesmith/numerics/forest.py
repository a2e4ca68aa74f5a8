"""Regression forests that say how sure they are; trees from scikit-learn, which is imported when one is grown.

Breiman, L. (2001): Random forests. Machine Learning 45, 5-32. Geurts, P. et al. (2006): Extremely randomized trees.
Machine Learning 63, 3-42. Hutter, F. et al. (2014): Algorithm runtime prediction: methods & evaluation. Artificial
Intelligence 206, 79-111, sec. 4.3.2 (the variance).
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import MissingDependencyError

FloatArray = NDArray[np.float64]


def check_scikit_learn() -> None:
    """An error with the remedy, if scikit-learn is not installed. Imports nothing."""
    if importlib.util.find_spec("sklearn") is None:
        raise MissingDependencyError(
            "Random forests need scikit-learn, which is not installed: pip install scikit-learn."
        )


class Forest:
    """Trees grown on bootstrap samples, or on all rows.

    Args:
        X: (n, d) rows, without NaN.
        y: (n,) outcomes, finite.
        rng: its only source of randomness.
        n_trees: how many.
        max_features: part of the columns that are looked at for a split.
        min_leaf: fewest rows in a leaf.
        bootstrap: every tree gets n rows drawn with replacement.
        splitter: ``"best"`` of all thresholds (Breiman), or ``"random"`` ones (Geurts).
    """

    def __init__(
        self, X: FloatArray, y: FloatArray, rng: np.random.Generator, *, n_trees: int, max_features: float,
        min_leaf: int, bootstrap: bool, splitter: str,
    ) -> None:  # fmt: skip
        check_scikit_learn()
        from sklearn import config_context
        from sklearn.tree import DecisionTreeRegressor

        rows, n = np.ascontiguousarray(X, np.float32), len(X)
        columns = max(1, round(max_features * X.shape[1]))
        self._trees: list[Any] = []
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for seed in rng.integers(2**31, size=n_trees).tolist():
                at = rng.integers(n, size=n) if bootstrap else slice(None)
                tree = DecisionTreeRegressor(
                    max_features=columns, min_samples_leaf=min_leaf, splitter=splitter, random_state=seed
                )
                self._trees.append(tree.fit(rows[at], y[at], check_input=False).tree_)

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(m,) means and variances at the (m, d) rows.

        By the law of total variance: the mean of the variances within the leaves plus the variance of their means
        (Hutter 2014, eq. 5).
        """
        rows = np.ascontiguousarray(X, np.float32)
        means, within = np.empty((len(self._trees), len(X))), np.empty((len(self._trees), len(X)))
        for k, tree in enumerate(self._trees):
            leaf = tree.apply(rows)
            means[k], within[k] = tree.value[leaf, 0, 0], tree.impurity[leaf]
        return means.mean(axis=0), within.mean(axis=0) + means.var(axis=0)
