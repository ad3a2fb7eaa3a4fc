"""Independent PPO is the general-purpose algorithm that networked ones are measured against."""

from typing import Any

from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.policy import Policy
from marl.trainers.kappa_hop_ppo import KappaHopPPO


class IndependentPPO(KappaHopPPO):
    """Every agent climbs its own rewards alone with clipped steps (de Witt et al. 2020): `KappaHopPPO` with credit 0.

    discount, trace_decay: as people set them for PPO; all other arguments are those of `KappaHopPPO`.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        discount: float = 0.99,
        trace_decay: float = 0.95,
        **settings: Any,
    ):
        super().__init__(env, policy, critic, credit=0, discount=discount, trace_decay=trace_decay, **settings)

    fused = KappaHopPPO.fused
