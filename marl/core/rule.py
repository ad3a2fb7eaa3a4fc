"""A rule is a policy that people follow: it is made for one system, and nothing in it is learned."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy


class Rule(Policy):
    """This is the base class of rules that draw among actions: implement `_weights`.

    system: the class of environments that it is made for. hops: how far an agent looks, see `Policy`.
    Errors: `ConfigError` if the environment is of another class.
    """

    system: ClassVar[type[Environment]]

    def __init__(self, env: Environment, **run: Any):
        if not isinstance(env, self.system):
            raise ConfigError(
                f"{type(self).__name__} is a rule for {self.system.__name__}, not for {type(env).__name__}; "
                "use a policy that fits the environment"
            )
        super().__init__(env, **run)

    @classmethod
    def choices(cls, env: Environment) -> Mapping[str, Sequence[float]]:
        """Returns an argument with the values among which people take the best on their network, nothing by default.

        The argument takes one value, or a list with one for every replica.
        """
        return {}

    @abstractmethod
    def _weights(self, s: Tensor) -> Tensor:
        """Returns how probable every action is in the states s, up to a factor; illegal ones are left out by the caller.

        Shapes: s [*K, B, n] -> [*K, B, n, A], at least one legal action above 0.
        """

    def _logits(self, s: Tensor) -> Tensor:
        return self._weights(s).to(self.dtype).log()


class DeterministicRule(Rule):
    """This is the base class of rules that leave nothing to chance: implement `_choose`."""

    @abstractmethod
    def _choose(self, s: Tensor) -> Tensor:
        """Returns the action of every agent in the states s, a legal one. Shapes: s [*K, B, n] -> [*K, B, n]."""

    def _weights(self, s: Tensor) -> Tensor:
        return F.one_hot(self._choose(s), self.env.action_mask.shape[2])
