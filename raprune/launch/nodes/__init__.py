"""What every node of a cluster must have: the same versions, the study's own code, and the study's folder."""

from raprune.launch.nodes.comparing import NodeCheck
from raprune.launch.nodes.own_code import own_code, packed

__all__ = ["NodeCheck", "own_code", "packed"]
