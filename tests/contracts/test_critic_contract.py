"""The kit of critics sees what is broken, in their values, in how they are learned, and in their tables."""

import math
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from marl.core.critic import Transition
from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError, ContractError
from marl.critics import AdditiveCritic, NeuralCritic, RandomFeatures, SharedCritic, TabularCritic
from marl.envs import WirelessAccess
from marl.testing import check_critic
from tests.contracts.test_environment_contract import Rumor


@pytest.fixture
def line() -> WirelessAccess:
    """Five users on a line."""
    return WirelessAccess(incidence=[[0], [0, 1], [1, 2], [2, 3], [3]], deadline=[2, 1, 2, 1, 2])


class SeesTooFar(AdditiveCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._q(s, a) + 0.1 * a.sum(dim=-1, keepdim=True)


class LosesAnAxis(AdditiveCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._q(s, a)[..., :1]


class AnswersInFloat32(AdditiveCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._q(s, a).float()


class MixesSteps(AdditiveCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        q = super()._q(s, a)
        return q + q.flatten(0, -3).mean(dim=0) if q.ndim > 2 else q


class MixesReplicas(SharedCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        q = super()._q(s, a)
        return q + 0.1 * q.mean(dim=-2, keepdim=True)


class Detached(AdditiveCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._q(s, a).detach()


class HalfDetached(AdditiveCritic):
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        q = super()._q(s, a)
        return q / 2 + q.detach() / 2


class SaysItIgnoresActions(AdditiveCritic):
    ignores_actions = True


class DoublesTheLoss(AdditiveCritic):
    def distance(self, q: Tensor, target: Tensor) -> Tensor:
        return 2.0 * super().distance(q, target)


class DifferentiatesTheTarget(AdditiveCritic):
    def loss(self, q: Tensor, step: Transition) -> Tensor:
        return self.distance(q, self.centered(step.r) + self.objective.gamma * self.q(step.next_s, step.next_a))


class SignsTheLoss(AdditiveCritic):
    """Right in value, wrong in its derivative."""

    def loss(self, q: Tensor, step: Transition) -> Tensor:
        right = super().loss(q, step)
        return 2.0 * right.detach() - right


class TracksTwice(AdditiveCritic):
    def track_reward(self, r: Tensor, alpha: float) -> None:
        super().track_reward(r, 2.0 * alpha)


class AddsUpAll(AdditiveCritic):
    def advantage(self, q: Tensor) -> Tensor:
        return q.detach().mean(dim=-1, keepdim=True).expand_as(q)


class AttachesTheAdvantage(AdditiveCritic):
    def advantage(self, q: Tensor) -> Tensor:
        return (q[..., self._neighborhood_index] * self._weight).sum(dim=-1)


class ExaggeratesOthers(AdditiveCritic):
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        return 1.5 * super()._counterfactual(s, a)


class LosesAnAction(AdditiveCritic):
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._counterfactual(s, a)[..., 1:]


class AttachesOthers(AdditiveCritic):
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._counterfactual(s, a) + 0.0 * self.weight.sum()


class SharesItsWeights(SharedCritic):
    """One set of weights for all replicas."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.together = nn.Parameter(torch.zeros(env.n, dtype=self.dtype))

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._q(s, a) + self.together


class ReplicasLast(AdditiveCritic):
    """Right in all it says, with the replicas last."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.shift = nn.Parameter(torch.zeros(env.n, self.replicas, dtype=self.dtype))

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._q(s, a) + self.shift.T


class LearnsUnseen(AdditiveCritic):
    """A parameter that nothing depends on differs from replica to replica."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.idle = nn.Parameter(torch.arange(self.replicas, dtype=self.dtype))


class DrawsAlike(NeuralCritic):
    """The same start for all seeds but that of the first replica."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        with torch.no_grad():
            self.embedding.copy_(self.embedding[:1].clone().expand_as(self.embedding))


class ForgetsItsFeatures(RandomFeatures):
    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        omega = self.omega
        del self.omega
        self.register_buffer("omega", omega, persistent=False)


class ForgetsItsStep(AdditiveCritic):
    """A rate of its own, which is learned with and not saved."""

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        self.asked = 0

    def loss(self, q: Tensor, step: Transition) -> Tensor:
        self.asked += 1
        right = super().loss(q, step)
        return right if self.asked < 3 else right / self.asked + (1 - 1 / self.asked) * right.detach()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (LosesAnAxis, r"q of LosesAnAxis is \[1, 2, 3, 1\] torch.float64, which must be \[1, 2, 3, 5\] torch.float64"),
        (AnswersInFloat32, "q of AnswersInFloat32 is .* torch.float32, which must be .* torch.float64"),
        (MixesSteps, "q of MixesSteps with axes of steps in front is not that of every step: at step 0, step 0, replica 0"),
        (SeesTooFar, "Q_0 of SeesTooFar changes with pairs more than kappa = 1 hops away: at step 0, replica"),
        (DoublesTheLoss, r"the loss of DoublesTheLoss \(Average\) is not sum_i delta_i\^2 / 2"),
        (SignsTheLoss, r"the derivative of the loss of SignsTheLoss \(Average\) by q is not -delta"),
        (DifferentiatesTheTarget, "loss of DifferentiatesTheTarget .* is differentiated in more than the present values q"),
        (TracksTwice, "track_reward of TracksTwice is not line 5"),
        (AddsUpAll, "advantage of AddsUpAll is not "),
        (AttachesTheAdvantage, "advantage of AttachesTheAdvantage must be detached"),
        (SaysItIgnoresActions, "q of SaysItIgnoresActions changes with actions, but it says ignores_actions"),
        (ExaggeratesOthers, "counterfactual of ExaggeratesOthers is not what q says of the other actions"),
        (LosesAnAction, r"counterfactual of LosesAnAction is \[8, 3, 5, 2\], which must be \[8, 3, 5, 3\]"),
        (AttachesOthers, "counterfactual of AttachesOthers must be detached"),
        (Detached, "q of Detached is not differentiable in the parameters"),
        (HalfDetached, "the derivative of q of HalfDetached by the parameters is not that of finite differences"),
        (ForgetsItsFeatures, "ForgetsItsFeatures is another one once its state_dict was loaded again: at"),
        (ForgetsItsStep, "ForgetsItsStep learns otherwise once its state_dict was loaded again: at"),
        (MixesReplicas, r"replica 0 of MixesReplicas is after . steps not the MixesReplicas of seed \+ 0 alone"),
        (SharesItsWeights, r"replica 0 of SharesItsWeights is after 1 steps not the SharesItsWeights of seed \+ 0 alone"),
        (DrawsAlike, r"replica 1 of DrawsAlike is after . steps not the DrawsAlike of seed \+ 1 alone"),
        (ReplicasLast, r"parameter shift of ReplicasLast is \[5, 3\]; its first axis must be the 3 replicas"),
        (LearnsUnseen, r"parameter idle of replica 1 of LearnsUnseen is not that of seed \+ 1 alone: at entry 0 it is 1.0"),
    ],
)
def test_the_kit_sees_a_broken_one(
    monkeypatch: pytest.MonkeyPatch, line: WirelessAccess, kind: type[Any], words: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ContractError, match=words):
        check_critic(kind, line, kappa=1)


def with_a_table(change: Callable[[Any, Any], None], storage: str = "dense") -> Callable[..., TabularCritic]:
    """Tabular critics to which something was done."""

    def make(env: FiniteEnvironment, **run: Any) -> TabularCritic:
        critic = TabularCritic(env, kappa=1, storage=storage, **run)
        change(critic, critic.table)
        return critic

    return make


def starts_at_one(critic: Any, table: Any) -> None:
    table.values.data.fill_(1.0)


def says_it_grows(critic: Any, table: Any) -> None:
    table.storage.grows = True


def shrinks(critic: Any, table: Any) -> None:
    table.growth = lambda visits: 1000 - visits


def grows_unsaid(critic: Any, table: Any) -> None:
    table.growth = lambda visits: visits


def has_no_size(critic: Any, table: Any) -> None:
    table.metrics = lambda: {"entries": math.nan}


def learns_twice_as_fast(critic: Any, table: Any) -> None:
    critic._q = lambda s, a: 2.0 * table.q(s, a)


def learns_nothing(critic: Any, table: Any) -> None:
    critic._q = lambda s, a: 0.0 * table.q(s, a)


def spills(critic: Any, table: Any) -> None:
    def updated(s: Tensor, a: Tensor) -> None:
        kept = table.values[table.slots(s, a).flatten()].detach()
        table.values.data[:-1] += 0.01
        table.values.data[table.slots(s, a).flatten()] = kept

    table.updated = updated


def understates_its_norm(critic: Any, table: Any) -> None:
    exact = table.sup_norm
    table.sup_norm = lambda: 0.9 * exact()


def keeps_no_books(critic: Any, table: Any) -> None:
    table.updated = lambda s, a: None


def halves_when_it_grows(critic: Any, table: Any) -> None:
    table.make_room = lambda visits: table.values.data.mul_(0.5)


@pytest.mark.parametrize(
    ("change", "storage", "words"),
    [
        (starts_at_one, "dense", "a pair that was never met must have the value 0 in the table of TabularCritic"),
        (says_it_grows, "dense", "the table of TabularCritic grows with visits, but learns at a pair that was not visited"),
        (shrinks, "hash", r"growth of the table of .* is \[1000, 999, 900\]; it must not fall"),
        (grows_unsaid, "dense", "says that it does not grow, but also that it may take 100 bytes more"),
        (has_no_size, "hash", "metrics of the table of TabularCritic must be finite numbers, they are {'entries': nan}"),
        (learns_twice_as_fast, "hash", r"step of size alpha on the table of TabularCritic is not line 6"),
        (learns_nothing, "dense", "the table of TabularCritic learned nothing in 24 gradient steps"),
        (spills, "dense", "line 6 changes entries of TabularCritic other than those of the pair that was met"),
        (understates_its_norm, "hash", r"sup_norm of the table of TabularCritic is not the largest \|Q\| after 1 steps"),
        (keeps_no_books, "dense", r"sup_norm of the table of TabularCritic is not the largest \|Q\| after . steps"),
        (halves_when_it_grows, "dense", "making room in the table of TabularCritic changes what is in it"),
    ],
)
def test_the_kit_sees_a_broken_table(line: WirelessAccess, change: Any, storage: str, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        check_critic(with_a_table(change, storage), line)


class LearnsElsewhereCompiled(TabularCritic):
    def fused(self) -> Any:
        form = super().fused()
        return form._replace(values=form.values.copy())


def test_the_kit_sees_a_broken_compiled_form(line: WirelessAccess) -> None:
    with pytest.raises(ContractError, match="LearnsElsewhereCompiled learns otherwise compiled than by autograd: "):
        check_critic(LearnsElsewhereCompiled, line, kappa=1, storage="dense")
    with pytest.raises(ConfigError, match=r"TabularCritic.fused can be checked only on .*: Rumor has no compiled form"):
        check_critic(TabularCritic, Rumor(), kappa=1)
