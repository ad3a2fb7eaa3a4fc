"""These are the shapes of docs/notation.md as types: B replicas, n agents, S states, A actions, m neighborhood width.

*K: any axes before the replicas (the steps of a rollout, or none).
"""

from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor

States = Int64[Tensor, "*K B n"]
Actions = Int64[Tensor, "*K B n"]
Whole = Any
"""States or actions [*K, B, n] as a user may give them: tensors or arrays of any integer kind, or lists."""
Pairs = Int64[Tensor, "*K B n"]
Rewards = Float[Tensor, "*K B n"]
Values = Float[Tensor, "*K B n"]
PerReplica = Float[Tensor, "B"]
Losses = Float[Tensor, "*K B"]
ActionValues = Float[Tensor, "*K B n A"]
ActionMask = Bool[Tensor, "n S A"]
Uniforms = Float[Tensor, "B n U"]
