"""This is the network of computers of SysAdmin, with crews that several machines call for, and its rules."""

from marl.envs.sysadmin.env import SysAdmin
from marl.envs.sysadmin.rules import RebootByTurns, RebootIfDead, RebootIfNotGood

__all__ = ["RebootByTurns", "RebootIfDead", "RebootIfNotGood", "SysAdmin"]
