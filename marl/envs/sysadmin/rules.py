"""The rules that administrators go by are policies here; nothing in them is learned."""

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from marl.core.checks import boolean, choice
from marl.core.environment import Environment
from marl.core.rule import DeterministicRule, Rule
from marl.envs.sysadmin.env import DEAD, FAULTY, LOADED, SysAdmin


class _RebootIf(Rule):
    """A machine that is in need requests a reboot from one of the crews that it reaches, each with equal probability."""

    system = SysAdmin
    env: SysAdmin
    hops = 0
    _chance: Tensor

    def _ask_in(self, in_need: Bool[Tensor, "9"]) -> None:
        """Lays out what is requested in which state."""
        actions = self.env.action_mask.shape[2]
        calls = self.env.action_mask[:, :1] & (torch.arange(actions) > 0)
        waits = (torch.arange(actions) == 0).expand(self.env.n, 1, -1)
        chance = torch.where(in_need[:, None], calls, waits).to(self.dtype)
        self.register_buffer("_chance", chance.flatten(0, 1), persistent=False)

    def _weights(self, s: Tensor) -> Tensor:
        return self._chance[self._row + s]


class RebootIfDead(_RebootIf):
    """A dead machine requests a reboot, from any of the crews that it reaches with equal probability; others wait.

    Two dead machines that reach one and the same crew and no other block each other for ever.
    Errors: `ConfigError` if the environment is no `SysAdmin`.
    """

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        self._ask_in(needs("dead", False))


class RebootIfNotGood(_RebootIf):
    """A faulty or dead machine requests a reboot, from any of the crews that it reaches with equal probability.

    spare_jobs: whether a faulty machine waits until the job that runs on it is done.
    Errors: `ConfigError` if the environment is no `SysAdmin`.
    """

    def __init__(self, env: Environment, *, spare_jobs: bool = False, **run: Any):
        super().__init__(env, **run)
        self._ask_in(needs("not_good", spare_jobs))


class RebootByTurns(DeterministicRule):
    """Of the machines in need, the one whose turn it is at a crew calls it: no two requests ever cancel each other.

    A crew's turn is that of a dead machine before that of a faulty one, and of the lower number before the higher. A
    machine calls the first crew at which it is its turn, and waits if there is none. It sees its neighbors' states.
    need: "dead" or "not_good" (faulty or dead). spare_jobs: whether a faulty machine is not in need while a job runs on it.
    Errors: `ConfigError` if the environment is no `SysAdmin`.
    """

    system = SysAdmin
    env: SysAdmin
    hops = 1
    _in_need: Tensor
    _target: Tensor

    def __init__(self, env: Environment, *, need: str = "dead", spare_jobs: bool = False, **run: Any):
        super().__init__(env, **run)
        self.register_buffer("_in_need", needs(need, spare_jobs), persistent=False)
        self.register_buffer("_target", self.env.target.flatten(), persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        n, nobody = self.env.n, 2 * self.env.n
        turn = torch.arange(n, device=s.device) + n * (s < 3 * DEAD)
        turn = torch.where(self._in_need[s], turn, nobody)
        called = self._target.expand(*s.shape[:-1], -1)
        asks = turn.unsqueeze(-1).expand(*s.shape, self.env.target.shape[1])
        first = torch.full((*s.shape[:-1], self.env.num_crews + 1), nobody, device=s.device)
        first.scatter_reduce_(-1, called, asks.flatten(-2), "amin")
        first[..., -1] = -1  # nobody's turn is to call no crew
        its_turn = (first.gather(-1, called).unflatten(-1, (n, -1)) == asks) & (asks < nobody)
        return its_turn.byte().argmax(dim=-1)


def needs(need: str, spare_jobs: bool) -> Bool[Tensor, "9"]:
    """Tells which states are in need of a reboot: those of dead machines, or of all that are not good.

    spare_jobs: a faulty machine with a job that runs is not. (A job on a dead machine is lost.)
    """
    worst = {"dead": DEAD, "not_good": FAULTY}[choice("policy.need", need, ("dead", "not_good"))]
    s = torch.arange(9)
    return (s >= 3 * worst) & ~(torch.tensor(boolean("policy.spare_jobs", spare_jobs)) & (s == 3 * FAULTY + LOADED))
