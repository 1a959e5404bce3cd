"""The vector of a user from the user's own interactions, with the items' factors as they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from artifacts.factors import Factors


def fold_in(factors: Factors, confidences: Mapping[str, float]) -> NDArray[np.float32] | None:
    """
    Return the vector that training would give a user of these interactions, the items staying as they are.

    It solves ``(YtY + lambda I + Yt (C - I) Y) x = Yt C p`` exactly, Y being the item factors, C the diagonal matrix of
    *alpha* times the confidences, p 1 for an item the user cared for. Training approximates the same by conjugate
    gradient.

    Args:
        factors: The version to place the user in, i items of f factors.
        confidences: By item id, at least 0, as the query ``interactions`` weighs them. Items that the version does not
            know are passed over.

    Returns:
        float32, shape (f,); None where the version knows none of the items, or none says anything.

    Source:
        Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008, equation 4.
    """
    # In one order, so that the same interactions give the same bytes.
    known = sorted((row, value) for item, value in confidences.items() if (row := factors.item_row(item)) is not None)
    if not any(value > 0 for _, value in known):
        return None
    items = factors.item_factors[[row for row, _ in known]].astype(np.float64)
    weights = factors.alpha * np.array([value for _, value in known], dtype=np.float64)
    equation = factors.gram + factors.regularization * np.eye(items.shape[1]) + (items.T * (weights - 1)) @ items
    vector: NDArray[np.float32] = np.linalg.solve(equation, items.T @ weights).astype(np.float32)
    return vector
