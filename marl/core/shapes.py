"""The shape vocabulary of docs/notation.md as types: B replicas, n agents, S states, A actions, m neighborhood width."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

States = Int64[Tensor, "B n"]
Actions = Int64[Tensor, "B n"]
Pairs = Int64[Tensor, "B n"]
Rewards = Float[Tensor, "B n"]
Values = Float[Tensor, "B n"]
PerReplica = Float[Tensor, "B"]
ActionValues = Float[Tensor, "B n A"]
ActionMask = Bool[Tensor, "n S A"]
Uniforms = Float[Tensor, "B n U"]
