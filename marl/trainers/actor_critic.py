"""Every actor-critic of this library has a policy, a critic, their step sizes and optimizers."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import SGD, Optimizer

from marl.core.checks import number
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import CheckpointError, ConfigError
from marl.core.logger import Logger
from marl.core.objective import Average, AverageByErrors, Discounted, Objective
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler
from marl.core.shapes import Actions, States
from marl.core.snapshot import uncopied
from marl.core.together import check_together
from marl.trainers.optimizers import is_plain_sgd, make, makes_plain_sgd
from marl.trainers.trainer import Trainer

FORMER_HOOKS = ("visit", "updated", "track_sup_norm", "sup_norm", "growth", "check_optimizer", "metrics")
OPTIMIZERS = ("critic_optimizer", "actor_optimizer")
_NEW_TRAINER = "some were replaced or added after the trainer was made; make a new one"


class ActorCritic(Trainer):
    """This is the base class of actor-critics: implement `_advance`.

    critic_scheduler, actor_scheduler: alpha_t and eta_t, the learning rates of the two optimizers.
    discount: 1 for the average reward, the error r - mu + Q' - Q; below 1 for the discounted sum, r + discount Q' - Q. It
    says what the critic estimates, `critic.objective`.
    centering: null = mu follows the rewards, line 5; c above 0, at most 1 = it follows the TD errors, mu <- mu + c a delta,
    where a is the step size of line 5 (see `AverageByErrors`).
    critic_optimizer, actor_optimizer: parameters -> torch optimizer; its learning rate is set before each step.
    device: where policy and critic live and learn; the environment and the rollouts stay on the processor.
    Errors: `ConfigError`, also for a device that is not there, for a tabular critic on any but `cpu`, or where policy or
    critic was made for an environment of another network, other sizes or other legal actions (another law is fine).
    """

    learns_from_q = True
    """Whether the actor climbs the critic's values of actions, which a critic of states alone does not give."""
    postpones_plain_sgd = False
    """Whether plain SGD is made only when it is asked for: torch takes a second or more over its first optimizer."""

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        critic_scheduler: Scheduler,
        actor_scheduler: Scheduler,
        discount: float = 1.0,
        centering: float | None = None,
        critic_optimizer: Callable[..., Optimizer] = SGD,
        actor_optimizer: Callable[..., Optimizer] = SGD,
        device: str = "cpu",
        seed: int = 0,
        log_every: int = 100,
        loggers: Sequence[Logger] = (),
    ):
        check_together(env, policy, critic)
        if self.learns_from_q and critic.ignores_actions:
            raise ConfigError(
                f"{type(critic).__name__} does not see actions, so it cannot say which were good; "
                "use it with trainer=kappa_hop_ppo or independent_ppo, or take another critic"
            )
        _check_hooks(critic)
        critic.objective = _objective(critic, number("trainer.discount", discount, 0.0, 1.0), centering)
        _move(device, policy, critic)
        super().__init__(env, policy, seed=seed, log_every=log_every, loggers=loggers)
        self.critic = self._fixed["critic"] = critic
        self.alpha, self.eta = critic_scheduler, actor_scheduler
        if critic.replicas != policy.replicas:
            raise ConfigError(
                f"the policy has {policy.replicas} replicas and the critic {critic.replicas}; give both the same"
            )
        for name, scheduler in (("critic_scheduler", self.alpha), ("actor_scheduler", self.eta)):
            number(f"{name} at step 0", float(scheduler(0)), 0.0)
        if not (self.postpones_plain_sgd and makes_plain_sgd(critic_optimizer)):
            self.critic_optimizer = self._make_critic_optimizer(critic_optimizer)
        if not (self.postpones_plain_sgd and makes_plain_sgd(actor_optimizer)):
            self.actor_optimizer = self._make_actor_optimizer(actor_optimizer)

    @functools.cached_property
    def critic_optimizer(self) -> Optimizer:
        """Steps on the parameters of the critic; made when first asked for if it is plain SGD and may be postponed."""
        return self._make_critic_optimizer(SGD)

    @functools.cached_property
    def actor_optimizer(self) -> Optimizer:
        """Steps on the parameters of the policy, see `critic_optimizer`."""
        return self._make_actor_optimizer(SGD)

    def made_optimizers(self) -> dict[str, Optimizer]:
        """Returns the optimizers that have been made so far, by name."""
        return {name: vars(self)[name] for name in OPTIMIZERS if name in vars(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues as any trainer does.

        Errors: `CheckpointError` also where a part of the state would be passed over.
        """
        with uncopied():  # its names alone are of interest: no copy of a large table
            known = self.state_dict().keys() | set(OPTIMIZERS)
        if unknown := state.keys() - known:
            raise CheckpointError(
                f"the checkpoint is of another configuration: it holds {', '.join(sorted(unknown))}, "
                "which this trainer does not have; start a new run"
            )
        for name in OPTIMIZERS:  # plain SGD stood in checkpoints too, with an empty state
            if name not in self._modules() and name in state and state[name]["state"]:
                raise CheckpointError(f"the checkpoint is of another configuration: its {name} is not plain SGD")
        super().load_state_dict(state)

    def _check_parts(self) -> None:
        super()._check_parts()
        for name, optimizer in self.made_optimizers().items():
            part = self.policy if name == "actor_optimizer" else self.critic
            stepped = {id(x) for group in optimizer.param_groups for x in group["params"]}
            if not {id(x) for x in part.parameters()} <= stepped:
                raise ConfigError(f"{name} does not step on all parameters of the {type(part).__name__}: {_NEW_TRAINER}")

    def _make_critic_optimizer(self, maker: Any) -> Optimizer:
        optimizer = make("critic", maker, list(self.critic.parameters()), self.alpha(0))
        if self.critic.table is not None and not is_plain_sgd(optimizer):
            raise ConfigError(
                f"{type(self.critic).__name__} is a table, which learns with plain SGD only (no momentum, no weight decay, "
                "not maximizing); leave trainer.critic_optimizer as it is or use another critic"
            )
        return optimizer

    def _make_actor_optimizer(self, maker: Any) -> Optimizer:
        nothing = [torch.nn.Parameter(torch.empty(0))]  # a policy without parameters is evaluated, not improved
        return make("actor", maker, list(self.policy.parameters()) or nothing, self.eta(0))

    def memory_ahead(self, steps: int) -> tuple[int, int]:
        return 0, self._growth(steps)

    def visits(self, end: int) -> int:
        """Counts the pairs visited from step t, whose own has been, to step `end`: one a step, or more."""
        return end - self.t

    def _growth(self, visits: int) -> int:
        """Counts the bytes by which the critic can at most grow within so many visits."""
        return 0 if self.critic.table is None else self.critic.table.growth(visits)

    def _visit(self, s: States, a: Actions) -> None:
        """Makes entries for pairs that are about to be learned, if the critic is a table."""
        if self.critic.table is not None:
            self.critic.table.visit(s, a)

    def _differentiate(self, loss: torch.Tensor) -> None:
        """Sets the gradients of all parameters to those of `loss`."""
        self.critic_optimizer.zero_grad()
        self.actor_optimizer.zero_grad()
        loss.backward()

    def _modules(self) -> dict[str, Any]:
        kept = {name: made for name, made in self.made_optimizers().items() if not is_plain_sgd(made)}  # it has no state
        return {"policy": self.policy, "critic": self.critic, **kept}

    def _metrics(self) -> dict[str, float | np.ndarray]:
        with torch.no_grad():
            entropy = self.policy.entropy(self.s[: self.replicas]).mean(dim=1)
        table = self.critic.table
        known: dict[str, float | np.ndarray] = {
            **self.critic.objective.metrics(),
            **(table.metrics() if table is not None else {}),
        }
        return {
            **{f"critic/{name}": value for name, value in known.items()},
            "actor/entropy": entropy.double().cpu().numpy(),
            "schedule/alpha": self.alpha(self.t - 1),
            "schedule/eta": self.eta(self.t - 1),
        }


def _objective(critic: Critic, discount: float, centering: float | None) -> Objective:
    """Returns what the critic's values are to be of; what it has is kept, with its mu, if it is the same."""
    kept, sizes = critic.objective, (critic.replicas, critic.env.n, critic.dtype)
    rate = None if centering is None else number("trainer.centering", centering, 1e-12, 1.0)
    if discount < 1.0:
        if rate is not None:
            raise ConfigError(
                f"trainer.centering={rate:g} is about mu, which trainer.discount={discount:g} has none of; set "
                "trainer.centering=null, or trainer.discount=1 for the average reward"
            )
        return Discounted(discount)
    if rate is None:
        return kept if isinstance(kept, Average) else Average(*sizes)
    return kept if isinstance(kept, AverageByErrors) and kept.rate == rate else AverageByErrors(*sizes, rate)


def _check_hooks(critic: Critic) -> None:
    """Refuses a critic that was written for an earlier version and relies on being called where nobody calls it now."""
    if found := [name for name in FORMER_HOOKS if hasattr(type(critic), name)]:
        raise ConfigError(
            f"{type(critic).__name__} defines {', '.join(found)}, which trainers no longer call: what serves a table is a "
            "marl.Table, held as critic.table; rename anything else"
        )


def _move(device: str, policy: Policy, critic: Critic) -> None:
    try:
        where = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"trainer.device={device!r} cannot be used: {str(error).splitlines()[0]}") from None
    if critic.table is not None and where.type != "cpu":
        raise ConfigError(f"a tabular critic lives in main memory; set trainer.device=cpu, got {device!r}")
    policy.to(where)
    critic.to(where)
