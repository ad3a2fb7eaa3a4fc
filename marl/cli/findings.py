"""What can be earned on a network is found one value after the other: exactly where it can be, else by simulation."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from marl.cli.rules import Settings, rules_of
from marl.core.environment import FiniteEnvironment, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.exact import AverageValues, Chain, LocalLaws, ascend, best_local, optimum
from marl.trainers.evaluation import evaluate

MOST_STATES = 2**16
"""Joint states up to which the value of a policy is computed and not simulated."""
CHOOSING = 1000
"""What is added to the seed where the best setting of a rule is chosen: it is measured on other noise."""


class Finding(NamedTuple):
    """This is one value, or why there is none.

    kind: the field of `References` that it belongs to; name: which of these, if there are several. how: how it was
    found, or why it was not. interval: 95 %, of a simulation. bracket: of an optimum.
    """

    kind: str
    name: str
    value: float | None
    how: str
    interval: tuple[float, float] | None = None
    bracket: tuple[float, float] | None = None


@dataclass
class Findings:
    """These are the values of `env`, found while they are asked for.

    uniform: the uniform policy. hops: for each of them the best local policies are looked for; starts: of the ascents.
    steps, seed: of simulations. memory: GiB that a computation may take.
    """

    env: FiniteEnvironment
    uniform: Policy
    hops: list[int]
    starts: int
    steps: int
    seed: int
    memory: float

    def __post_init__(self) -> None:
        self._laws: LocalLaws | ConfigError = ConfigError(f"{type(self.env).__name__} does not state its law")
        if isinstance(self.env, NetworkedMDP):
            try:
                self._laws = LocalLaws(self.env)
            except ConfigError as error:
                self._laws = error

    def __iter__(self) -> Iterator[Finding]:
        yield self._valued("uniform", "", self.uniform, [{}])
        for name, rule, settings in rules_of(self.env):
            if isinstance(rule, ConfigError):
                yield Finding("rules", name, None, str(rule))
            else:
                yield self._valued("rules", name, rule, settings)
        for hops in self.hops:
            yield self._searched("best_local", str(hops), lambda laws, hops=hops: self._best_rule(laws, hops))
            yield self._searched("ascent", str(hops), lambda laws, hops=hops: self._ascent(laws, hops))
        yield self._searched("optimum", "", self._optimum)

    def _best_rule(self, laws: LocalLaws, hops: int) -> Finding:
        sizes, mask = self.env.num_states, self.env.action_mask
        alike = bool((sizes == sizes[0]).all() and (mask == mask[0]).all())
        found = best_local(
            laws.env, hops, symmetric=alike, starts=self.starts, seed=self.seed, memory=self.memory, laws=laws
        )
        best = (
            f"the best of all {len(found.ends)}" if found.exhaustive else f"the best of {len(found.ends)} ascents, at least"
        )
        return Finding(
            "best_local", str(hops), found.value, f"{best}; {'one for all agents' if alike else 'one for each agent'}"
        )

    def _ascent(self, laws: LocalLaws, hops: int) -> Finding:
        found = ascend(laws.env, hops, starts=self.starts, seed=self.seed, memory=self.memory, laws=laws)
        how = f"the best of {len(found.ends)} ascents, at least; one for each agent"
        return Finding("ascent", str(hops), found.value, how)

    def _optimum(self, laws: LocalLaws) -> Finding:
        low, high, *_ = optimum(laws.env, memory=self.memory, laws=laws)
        how = f"of all policies, between {low:.10f} and {high:.10f}"
        return Finding("optimum", "", (low + high) / 2.0, how, bracket=(low, high))

    def _searched(self, kind: str, name: str, search: Callable[[LocalLaws], Finding]) -> Finding:
        """Does the search, or says why it cannot be done."""
        if isinstance(self._laws, ConfigError):
            return Finding(kind, name, None, str(self._laws))
        try:
            return search(self._laws)
        except ConfigError as error:
            return Finding(kind, name, None, str(error))

    def _valued(self, kind: str, name: str, policy: Policy, settings: Settings) -> Finding:
        """Finds the value of the best replica."""
        try:
            values = [self._exact(policy, b) for b in range(policy.replicas)]
        except ConfigError:
            return self._simulated(kind, name, policy, settings)
        best = max(range(len(values)), key=values.__getitem__)
        return Finding(kind, name, values[best], "exact" + _chosen(settings[best]))

    def _exact(self, policy: Policy, replica: int) -> float:
        if isinstance(self._laws, ConfigError):
            raise self._laws
        if math.prod(self._laws.num_states) > MOST_STATES:
            raise ConfigError(f"more than {MOST_STATES} joint states")
        chain = Chain(self._laws.env, policy, replica=replica, memory=self.memory, laws=self._laws)
        return float(AverageValues(chain).J.mean())

    def _simulated(self, kind: str, name: str, policy: Policy, settings: Settings) -> Finding:
        best = 0
        if policy.replicas > 1:
            chosen_by = evaluate(self.env, policy, steps=self.steps, seed=self.seed + CHOOSING)
            best = int(chosen_by.average_reward.argmax())
        found = evaluate(self.env, policy, steps=self.steps, seed=self.seed)
        mean, half = float(found.average_reward[best]), float(found.half_width[best])
        how = f"+- {half:.6f}, {self.steps} steps" + _chosen(settings[best])
        return Finding(kind, name, mean, how, interval=(mean - half, mean + half))


def _chosen(settings: dict[str, Any]) -> str:
    return "".join(f", policy.{name}={setting}" for name, setting in settings.items())
