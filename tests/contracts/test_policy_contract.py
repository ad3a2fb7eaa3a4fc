"""The kit of policies sees what is broken, in their probabilities, in how they learn, and in their compiled forms."""

from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError, ContractError
from marl.core.policy import Policy
from marl.core.rule import DeterministicRule
from marl.envs import WirelessAccess
from marl.policies import NeighborhoodSoftmax, NeuralPolicy, SharedPolicy, TabularSoftmax
from marl.testing import check_policy
from tests.contracts.test_environment_contract import Rumor


@pytest.fixture
def line() -> WirelessAccess:
    """Five users on a line."""
    return WirelessAccess(incidence=[[0], [0, 1], [1, 2], [2, 3], [3]], deadline=[2, 1, 2, 1, 2])


class Plain(Policy):
    """A table of logits, broken in turn below."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.theta = self.initial.zeros(*env.action_mask.shape)
        self.register_buffer("_replica", torch.arange(self.replicas)[:, None], persistent=False)
        self.register_buffer("_agent", torch.arange(env.n), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        return self.theta[self._replica, self._agent, s]

    def legal(self, s: Tensor) -> Tensor:
        return self.env.index.choices(s) >= 0


class AnswersInFloat32(Plain):
    def probs(self, s: Tensor) -> Tensor:
        return super().probs(s).float()


class AllowsEverything(Plain):
    def log_probs(self, s: Tensor) -> Tensor:
        return torch.log_softmax(self._logits(s), dim=-1)


class LosesProbability(Plain):
    def probs(self, s: Tensor) -> Tensor:
        return 0.9 * super().probs(s)


class OwesProbability(Plain):
    def probs(self, s: Tensor) -> Tensor:
        legal = self.legal(s).double()
        return 2.0 * super().probs(s) - legal / legal.sum(dim=-1, keepdim=True)


class ShiftsLogarithms(Plain):
    def probs(self, s: Tensor) -> Tensor:
        return super().log_probs(s).exp()

    def log_probs(self, s: Tensor) -> Tensor:
        return super().log_probs(s) + 0.1


class HalvesLogarithms(Plain):
    def log_prob(self, s: Tensor, a: Tensor) -> Tensor:
        return 0.5 * super().log_prob(s, a)


class CountsBits(Plain):
    def entropy(self, s: Tensor) -> Tensor:
        return super().entropy(s) * 1.4426950408889634


class UniformTable(Plain):
    def probability_table(self) -> Tensor:
        mask = self.env.action_mask.double()
        return (mask / mask.sum(dim=-1, keepdim=True).clamp(min=1)).expand(self.replicas, -1, -1, -1)


class OneTable(Plain):
    def probability_table(self) -> Tensor:
        return super().probability_table()[0]


class FillsThePadding(Plain):
    def probability_table(self) -> Tensor:
        return super().probability_table() + 0.5 * ~self.env.action_mask.any(dim=-1, keepdim=True)


class HasATable(NeighborhoodSoftmax):
    def probability_table(self) -> Tensor:
        return torch.zeros(self.replicas, *self.env.action_mask.shape)


class LooksAround(Plain):
    def _logits(self, s: Tensor) -> Tensor:
        return super()._logits(s) + s.sum(dim=-1)[..., None, None] * torch.arange(self.env.action_mask.shape[2])


class NothingLegal(DeterministicRule):
    system = FiniteEnvironment

    def _choose(self, s: Tensor) -> Tensor:
        return torch.full_like(s, self.env.action_mask.shape[2] - 1)


class LooksFarther(NeighborhoodSoftmax):
    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, kappa=2, **run)
        self.hops = 1


class TakesTheBest(Plain):
    def sample(self, s: Tensor, u: Tensor) -> Tensor:
        return self.probs(s).argmax(dim=-1)


class StopsAtTheJump(Plain):
    """The first action whose cumulative probability is at least u, in place of above."""

    def sample(self, s: Tensor, u: Tensor) -> Tensor:
        found = (self.probs(s).cumsum(dim=-1) >= u.clamp(min=1e-12)[..., None]).long().argmax(dim=-1)
        return torch.where(u >= 1.0 - 1e-12, super().sample(s, u), found)


class FallsOffTheEnd(Plain):
    def sample(self, s: Tensor, u: Tensor) -> Tensor:
        return torch.where(u > 1.0 - 1e-15, 0, super().sample(s, u))


class MixesSteps(Plain):
    def _logits(self, s: Tensor) -> Tensor:
        logits = super()._logits(s)
        return logits * (1.0 + 0.1 * (s.ndim - 2))


class ForgetsItsTable(Plain):
    def __init__(self, env: FiniteEnvironment, *, seed: int = 0, **run: Any):
        super().__init__(env, seed=seed, **run)
        shift = torch.stack([torch.full(env.action_mask.shape, 0.1 * (seed + b)) for b in range(self.replicas)]).double()
        self.register_buffer("shift", shift * torch.arange(env.action_mask.shape[2]), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        return super()._logits(s) + self.shift[self._replica, self._agent, s]


class HalfDetached(Plain):
    def _logits(self, s: Tensor) -> Tensor:
        logits = super()._logits(s)
        return logits / 2 + logits.detach() / 2


class BoundsTooLow(Plain):
    score_bound = 0.1


class KeepsTheGradient(TabularSoftmax):
    def natural_gradient(self, s: Tensor, damping: float) -> None:
        """Leaves the gradients as they are."""


class SharesItsWeights(Plain):
    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.together = nn.Parameter(torch.zeros(self.theta.shape[1:], dtype=self.dtype))

    def _logits(self, s: Tensor) -> Tensor:
        return super()._logits(s) + self.together[self._agent, s]


class ReplicasLast(SharesItsWeights):
    """Right in all it says, with the replicas last."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.together = nn.Parameter(torch.zeros(*self.theta.shape[1:], self.replicas, dtype=self.dtype))

    def _logits(self, s: Tensor) -> Tensor:
        return super(SharesItsWeights, self)._logits(s) + self.together[self._agent, s, :, self._replica]


class DrawsAlike(NeuralPolicy):
    """The same start for all replicas, whatever their seeds."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        with torch.no_grad():
            self.embedding.copy_(self.embedding[:1].clone().expand_as(self.embedding))


class LearnsUnseen(SharedPolicy):
    """A parameter that nothing depends on differs from replica to replica."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.idle = nn.Parameter(torch.arange(self.replicas, dtype=self.dtype))


class LearnsElsewhereCompiled(TabularSoftmax):
    def fused(self) -> Any:
        form = super().fused()
        return form._replace(**{form._fields[0]: form[0].copy()})


class DrawsOtherwiseCompiled(NeighborhoodSoftmax):
    def sampled(self) -> Any:
        form = super().sampled()
        return form._replace(**{form._fields[-1]: 0.0 * form[-1]})


def test_a_right_one_passes(line: WirelessAccess) -> None:
    for env in (line, Rumor()):
        check_policy(Plain, env)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (AnswersInFloat32, r"probs of AnswersInFloat32 is \[30, 3, 5, 3\] torch.float32, which must be .* torch.float64"),
        (AllowsEverything, "an illegal action has a probability in AllowsEverything: at step 0, replica 0, agent"),
        (LosesProbability, "the probabilities of LosesProbability do not sum to 1: at .* it is 0.9"),
        (OwesProbability, "OwesProbability has a probability below 0"),
        (ShiftsLogarithms, "log_probs of ShiftsLogarithms is not the logarithm of probs"),
        (HalvesLogarithms, "log_prob of HalvesLogarithms is not the logarithm of the probability of the action"),
        (CountsBits, "entropy of CountsBits is not -sum zeta log zeta"),
        (UniformTable, "probability_table of UniformTable is not probs: at step"),
        (OneTable, r"probability_table of OneTable is \[5, 4, 3\], which must be \[3, 5, 4, 3\]"),
        (
            FillsThePadding,
            r"probability_table of FillsThePadding is not 0 where \(s, a\) is illegal: at replica",
        ),
        (HasATable, "HasATable sees states of others, so probability_table must be refused with a ConfigError"),
        (LooksAround, "zeta_0 of LooksAround changes with states of others, and hops is 0"),
        (NothingLegal, "NothingLegal leaves agent . no legal action in its state 0, at states"),
        (LooksFarther, "zeta_0 of LooksFarther changes with states of agents more than hops = 1 away"),
        (TakesTheBest, "sample of TakesTheBest is not the inverse CDF of a uniform at random: at step"),
        (StopsAtTheJump, "sample of StopsAtTheJump is not the inverse CDF of a uniform at a jump"),
        (FallsOffTheEnd, "sample of FallsOffTheEnd is not the inverse CDF of a uniform just below 1"),
        (MixesSteps, "probs of MixesSteps with axes of steps in front is not that of every step"),
        (ForgetsItsTable, "ForgetsItsTable is another one once its state_dict was loaded again"),
        (HalfDetached, "the derivative of log_prob of HalfDetached by the parameters is not that of finite differences"),
        (BoundsTooLow, "the score of agent 0 of BoundsTooLow is .*, above its score_bound 0.1"),
        (
            KeepsTheGradient,
            r"natural_gradient of KeepsTheGradient does not solve \(F \+ damping I\) x = grad: at",
        ),
        (SharesItsWeights, r"replica 0 of SharesItsWeights is after 1 steps not the SharesItsWeights of seed \+ 0 alone"),
        (ReplicasLast, r"the parameter together of ReplicasLast is \[5, 4, 3, 3\]; its first axis must be the 3 replicas"),
        (DrawsAlike, r"replica 1 of DrawsAlike is after . steps not the DrawsAlike of seed \+ 1 alone"),
        (LearnsUnseen, r"parameter idle of replica 1 of LearnsUnseen is not that of seed \+ 1 alone: at entry 0 it is 1.0"),
        (LearnsElsewhereCompiled, "LearnsElsewhereCompiled learns otherwise compiled than by autograd"),
        (DrawsOtherwiseCompiled, "step .* of a compiled rollout with DrawsOtherwiseCompiled has other actions"),
    ],
)
def test_the_kit_sees_a_broken_one(
    monkeypatch: pytest.MonkeyPatch, line: WirelessAccess, kind: type[Any], words: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ContractError, match=words):
        check_policy(kind, line)


def test_a_compiled_form_needs_a_compiled_step() -> None:
    with pytest.raises(ConfigError, match=r"TabularSoftmax.fused can be checked only on .*: Rumor has no compiled form"):
        check_policy(TabularSoftmax, Rumor())
    with pytest.raises(ConfigError, match=r"NeighborhoodSoftmax.sampled can be checked only on an environment with"):
        check_policy(NeighborhoodSoftmax, Rumor())
