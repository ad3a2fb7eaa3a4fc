"""This package holds the learning algorithms."""

from marl.trainers.certainty_equivalence import CertaintyEquivalence
from marl.trainers.discounted_actor_critic import DiscountedActorCritic
from marl.trainers.independent_ppo import IndependentPPO
from marl.trainers.kappa_hop_ppo import KappaHopPPO
from marl.trainers.policy_iteration import LocalizedPolicyIteration
from marl.trainers.rollout_actor_critic import RolloutActorCritic
from marl.trainers.scalable_actor_critic import ScalableActorCritic

__all__ = [
    "CertaintyEquivalence",
    "DiscountedActorCritic",
    "IndependentPPO",
    "KappaHopPPO",
    "LocalizedPolicyIteration",
    "RolloutActorCritic",
    "ScalableActorCritic",
]
