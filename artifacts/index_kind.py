"""What kind a FAISS index is, and how much of itself it looks through for a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
from faiss.contrib.factory_tools import reverse_index_factory

KIND, PLANNED, SEARCH = "type", "planned", "search"
"""
Keys of the manifest's parameter ``index``: the kind, the kind as it was asked for, which may be spelt otherwise, and
the search parameters by name.
"""


def kind_of(index: Any) -> str:  # noqa: ANN401  FAISS has no types
    """Return the kind of *index* in the words of ``faiss.index_factory``, such as ``Flat`` or ``IVF2048,SQ8``."""
    try:
        return str(reverse_index_factory(index))  # type: ignore[no-untyped-call]
    except (NotImplementedError, KeyError):
        return type(faiss.downcast_index(index)).__name__


def search_parameters(index: Any) -> dict[str, int]:  # noqa: ANN401  FAISS has no types
    """Return how much *index* visits for a query: ``nprobe`` lists or ``efSearch`` nodes; empty where it visits all."""
    inverted = inverted_lists(index)
    if inverted is not None:
        return {"nprobe": int(inverted.nprobe)}
    graph = _graph(index)
    return {} if graph is None else {"efSearch": int(graph.efSearch)}


def set_search_parameters(index: Any, parameters: Mapping[str, Any]) -> None:  # noqa: ANN401  FAISS has no types
    """
    Have *index* visit as much as *parameters* say.

    Raises:
        ValueError: they are not those of this kind of index, or not whole numbers above 0.
    """
    if parameters.keys() != search_parameters(index).keys():
        raise ValueError(
            f"{kind_of(index)} is searched with {_names(search_parameters(index))}, not {_names(parameters)}"
        )
    for name, value in parameters.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}, not a whole number above 0")
    inverted = inverted_lists(index)
    if inverted is not None:
        if parameters["nprobe"] > inverted.nlist:
            raise ValueError(f"nprobe is {parameters['nprobe']}, the index has {inverted.nlist} lists")
        inverted.nprobe = parameters["nprobe"]
    graph = _graph(index)
    if graph is not None:
        graph.efSearch = parameters["efSearch"]


def inverted_lists(index: Any) -> Any | None:  # noqa: ANN401  FAISS has no types
    """The inverted index within *index*, or None."""
    return faiss.try_extract_index_ivf(index)


def _graph(index: Any) -> Any | None:  # noqa: ANN401  FAISS has no types
    outer = faiss.downcast_index(index)
    while isinstance(outer, faiss.IndexPreTransform | faiss.IndexRefine):
        inner = outer.index if isinstance(outer, faiss.IndexPreTransform) else outer.base_index
        outer = faiss.downcast_index(inner)
    return outer.hnsw if isinstance(outer, faiss.IndexHNSW) else None


def _names(parameters: Mapping[str, Any]) -> str:
    return " and ".join(parameters) or "no parameter"
