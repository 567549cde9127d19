"""What every node of a cluster must have: the same versions, the study's own code, and the study's folder."""

from raprune.launch.nodes.comparing import NodeCheck
from raprune.launch.nodes.packing import named_modules, own_code, packed

__all__ = ["NodeCheck", "named_modules", "own_code", "packed"]
