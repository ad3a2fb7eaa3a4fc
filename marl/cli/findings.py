"""What can be earned on a network is found one value after the other: exactly where it can be, else by simulation."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from marl.cli.rules import Candidate, rules_of
from marl.core.checks import size
from marl.core.environment import Bounded, FiniteEnvironment, NetworkedMDP
from marl.core.errors import ConfigError, MarlError
from marl.core.policy import Policy
from marl.exact import Chain, LocalLaws, ascend, best_local, marginal_bound, optimum, solve
from marl.exact.best_local import MOST_RULES
from marl.exact.ties import Ties, odd_one
from marl.trainers.evaluation import BATCHES, evaluate

MOST_STATES = 2**16
"""Joint states up to which the value of a policy is computed and not simulated."""
FEW_STATES = 2**10
"""Joint states up to which the value of every setting of a rule is."""
MOST_WORK = 2**26
"""Numbers that a step of an ascent may have to touch: beyond, it takes seconds, and an ascent has a hundred of them."""
ITERATIONS = 100
"""About how many sums a matrix-free solution takes."""
MOST_CHOOSING = 2**28
"""Steps of agents after which the best setting of a rule is chosen: a quarter of a minute, whatever the network."""
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
        yield self._valued("uniform", Candidate("", [{}], lambda _: self.uniform))
        for rule in rules_of(self.env):
            try:
                yield self._valued("rules", rule)
            except ConfigError as error:
                yield Finding("rules", rule.name, None, str(error))
            except Exception as error:  # a rule of one's own may fail in any way
                yield Finding("rules", rule.name, None, f"{type(error).__name__}: {error}")
        for hops in self.hops:
            yield from self._local(hops)
        yield self._searched("optimum", "", self._optimum)
        yield self._bound()

    def _local(self, hops: int) -> Iterator[Finding]:
        """Finds the best rule where all can be tried, and climbs to a policy, which else stands for the rule too."""
        alike = odd_one(self.env) is None
        rule = self._searched("best_local", str(hops), partial(self._best_rule, hops, alike))
        policy = self._searched("ascent", str(hops), partial(self._ascent, hops))
        yield rule if rule.value is not None or policy.value is None else policy._replace(kind="best_local")
        yield policy

    def _best_rule(self, hops: int, alike: bool, laws: LocalLaws) -> Finding:
        if (count := Ties(laws.env, hops, alike).rules) > MOST_RULES:
            raise ConfigError(f"there are {size(count)} rules")
        found = best_local(laws.env, hops, symmetric=alike, memory=self.memory, laws=laws)
        whose = "one for all agents" if alike else "one for each agent"
        return Finding("best_local", str(hops), found.value, f"the best of all {len(found.ends)}, {whose}")

    def _ascent(self, hops: int, laws: LocalLaws) -> Finding:
        chain = Chain(laws.env, self.uniform, memory=self.memory, laws=laws)
        sums = sum(laws.env.num_actions.tolist()) + (ITERATIONS if chain.method == "free" else 0)
        work = chain.elimination.peak * sums
        if work > MOST_WORK:
            raise ConfigError(f"every step of an ascent would touch {size(work)} numbers; marl.exact.ascend does not ask")
        found = ascend(laws.env, hops, starts=self.starts, seed=self.seed, memory=self.memory, laws=laws)
        return Finding(
            "ascent", str(hops), found.value, f"the best of {len(found.ends)} ascents, at least; one for each agent"
        )

    def _optimum(self, laws: LocalLaws) -> Finding:
        low, high, *_ = optimum(laws.env, memory=self.memory, laws=laws)
        how = f"of all policies, between {low:.10f} and {high:.10f}"
        return Finding("optimum", "", (low + high) / 2.0, how, bracket=(low, high))

    def _bound(self) -> Finding:
        """Finds the least of what the environment knows of itself and of a linear program over its laws."""
        found = [self._searched("bound", "", self._marginal_bound), self._own_bound()]
        return min(found, key=lambda finding: math.inf if finding.value is None else finding.value)

    def _marginal_bound(self, laws: LocalLaws) -> Finding:
        value, order, *_ = marginal_bound(laws.env)
        groups = "agents alone" if order == 1 else f"groups of {order} agents"
        return Finding("bound", "", value, f"no policy can earn more: a linear program over {groups}")

    def _own_bound(self) -> Finding:
        if not isinstance(self.env, Bounded):
            return Finding("bound", "", None, f"{type(self.env).__name__} has no reward_bound")
        try:
            value = self.env.reward_bound()
        except ConfigError as error:
            return Finding("bound", "", None, str(error))
        return Finding("bound", "", value, f"no policy can earn more: {type(self.env).__name__}.reward_bound")

    def _searched(self, kind: str, name: str, search: Callable[[LocalLaws], Finding]) -> Finding:
        """Does the search, or says why it cannot be done."""
        if isinstance(self._laws, ConfigError):
            return Finding(kind, name, None, str(self._laws))
        try:
            return search(self._laws)
        except MarlError as error:
            return Finding(kind, name, None, str(error))

    def _valued(self, kind: str, rule: Candidate) -> Finding:
        """Finds the value of the best setting."""
        policy, settings = rule.make(rule.settings), rule.settings
        few = not isinstance(self._laws, ConfigError) and math.prod(self._laws.num_states) <= FEW_STATES
        if len(settings) > 1 and not few:
            settings = [settings[self._best_setting(policy)]]
            policy = rule.make(settings)
        try:
            value, b = max((self._exact(policy, b), b) for b in range(len(settings)))
        except ConfigError:
            b = self._best_setting(policy) if len(settings) > 1 else 0
            found = evaluate(self.env, rule.make([settings[b]]), steps=self.steps, seed=self.seed)
            mean, half = float(found.average_reward[0]), float(found.half_width[0])
            how = f"+- {half:.6f}, {self.steps} steps" + _chosen(settings[b])
            return Finding(kind, rule.name, mean, how, interval=(mean - half, mean + half))
        return Finding(kind, rule.name, value, "exact" + _chosen(settings[b]))

    def _best_setting(self, policy: Policy) -> int:
        """Finds the best replica in a simulation, on other noise than it is measured by."""
        steps = max(BATCHES, min(self.steps, MOST_CHOOSING // (policy.replicas * self.env.n)))
        return int(evaluate(self.env, policy, steps=steps, seed=self.seed + CHOOSING).average_reward.argmax())

    def _exact(self, policy: Policy, replica: int) -> float:
        if isinstance(self._laws, ConfigError):
            raise self._laws
        if math.prod(self._laws.num_states) > MOST_STATES:
            raise ConfigError(f"more than {MOST_STATES} joint states")
        chain = Chain(self._laws.env, policy, replica=replica, memory=self.memory, laws=self._laws)
        return float(solve(chain, chain.rewards().mean(axis=1, keepdims=True)).J)


def _chosen(settings: dict[str, Any]) -> str:
    return "".join(f", policy.{name}={setting}" for name, setting in settings.items())
