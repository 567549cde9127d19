"""Which filters can be pruned, and what goes with them: a network traced to groups, tensor axes and channel layouts."""

from raprune.network.graph.align import Align
from raprune.network.graph.layout import indices, lay_out
from raprune.network.graph.network import GIVES_OUTPUT, Axis, Cuts, Graph, Group, Member, Site, Traced
from raprune.network.graph.tracing import trace
from raprune.network.graph.units import present

__all__ = [
    "GIVES_OUTPUT", "Align", "Axis", "Cuts", "Graph", "Group", "Member", "Site", "Traced", "indices", "lay_out",
    "present", "trace",
]  # fmt: skip
