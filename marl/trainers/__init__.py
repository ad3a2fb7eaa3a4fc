"""Learning algorithms."""

from marl.trainers.scalable_actor_critic import ScalableActorCritic

__all__ = ["ScalableActorCritic"]
