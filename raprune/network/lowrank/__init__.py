"""How a layer becomes two smaller ones: which can, by which scheme, at which rank, and what that saves."""

from raprune.network.lowrank.costs import LayerCosts, Surveyed, energy_kept, rank_for_energy, survey
from raprune.network.lowrank.factor import Factor
from raprune.network.lowrank.factorising import (
    Ranks,
    Reasons,
    choose,
    factorised,
    full_ranks,
    insert_factors,
    layer_of,
    reasons_of,
)
from raprune.network.lowrank.responses import Responses, collect
from raprune.network.lowrank.scheme import Decomposition, scheme_of
from raprune.network.lowrank.structure import layers_of

__all__ = [
    "Decomposition", "Factor", "LayerCosts", "Ranks", "Reasons", "Responses", "Surveyed", "choose",
    "collect", "energy_kept", "factorised", "full_ranks", "insert_factors", "layer_of", "layers_of", "rank_for_energy",
    "reasons_of", "scheme_of", "survey",
]  # fmt: skip
