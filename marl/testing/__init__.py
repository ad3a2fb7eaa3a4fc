"""Contract kits check what a part owes, the library's or one of your own, against its definition."""

from marl.testing.critic import check_critic
from marl.testing.environment import check_environment
from marl.testing.fused_step import check_fused_step
from marl.testing.inputs import random_inputs
from marl.testing.policy import check_policy
from marl.testing.scheduler import check_scheduler

__all__ = ["check_critic", "check_environment", "check_fused_step", "check_policy", "check_scheduler", "random_inputs"]
