"""The compiled rollouts and updates of `RolloutActorCritic`, held against those of torch autograd."""

from typing import Any

import pytest
import torch

from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError, DivergedError
from marl.critics import AdditiveCritic, NeuralCritic, PairwiseCritic
from marl.envs import Epidemic, Firefighters, LoadBalancing, Scheduling, SysAdmin, TrafficSignals, WirelessAccess
from marl.policies import NeighborhoodSoftmax, TabularSoftmax
from marl.schedulers import Linear, PowerLaw
from marl.trainers import RolloutActorCritic

SYSTEMS = {
    "load_balancing": lambda: LoadBalancing("ring:4", buffer=2),
    "epidemic": lambda: Epidemic("ring:5", infection=0.6, recovery=0.3),
    "firefighters": lambda: Firefighters(agents=4),
    "scheduling": lambda: Scheduling("line:4"),
    "sysadmin": lambda: SysAdmin("ring:4"),
    "traffic": lambda: TrafficSignals(rows=2, cols=2),
    "wireless": lambda: WirelessAccess(rows=2, cols=3),
}
FORMS: dict[str, tuple[Any, Any]] = {
    f"{policy.__name__} {critic.__name__}": (policy, critic)
    for policy in (TabularSoftmax, NeighborhoodSoftmax)
    for critic in (AdditiveCritic, PairwiseCritic)
}
ADAM: dict[str, Any] = {
    "gradient": "all_actions",
    "actor_optimizer": torch.optim.Adam,
    "actor_scheduler": Linear(0.05, 0.0, 2000),
    "entropy": Linear(0.1, 0.0, 2000),
}
SGD: dict[str, Any] = {"actor_scheduler": PowerLaw(2.0, 0.2), "trace_decay": 0.6, "entropy": 0.02}
OPTIONS: dict[str, dict[str, Any]] = {
    "NeighborhoodSoftmax PairwiseCritic": ADAM,
    "TabularSoftmax AdditiveCritic": {**SGD, "centering": 0.4},
    "NeighborhoodSoftmax AdditiveCritic": {**SGD, "gradient": "all_actions", "reward_rate": 0.1},
    "TabularSoftmax PairwiseCritic": {**ADAM, "discount": 0.9, "gradient": "sampled"},
}
K = 7


def make(
    env: FiniteEnvironment, forms: str, engine: str = "fused", replicas: int = 2, seed: int = 3, **changes: Any
) -> RolloutActorCritic:
    policy, critic = FORMS[forms]
    dtype = changes.pop("dtype", torch.float64)
    parts = (
        policy(env, replicas=replicas, seed=seed, dtype=dtype),
        critic(env, kappa=1, replicas=replicas, seed=seed, dtype=dtype),
    )
    common = {"critic_scheduler": PowerLaw(0.5, 0.2), "rollout": K, "seed": seed, "log_every": 10**6}
    return RolloutActorCritic(env, *parts, **{**common, "engine": engine, **changes})


def numbers(trainer: RolloutActorCritic) -> list[torch.Tensor]:
    learned = [*trainer.policy.parameters(), *trainer.critic.parameters(), *trainer.critic.objective.buffers()]
    return [x.detach().double() for x in (*learned, *(torch.as_tensor(x) for x in vars(trainer.interval).values()))]


def assert_equal(one: RolloutActorCritic, other: RolloutActorCritic, atol: float) -> None:
    assert one.t == other.t
    assert torch.equal(one.s, other.s)
    assert torch.equal(one.a, other.a)
    for x, y in zip(numbers(one), numbers(other), strict=True):
        torch.testing.assert_close(x, y, rtol=atol, atol=atol)


@pytest.mark.parametrize("forms", FORMS)
def test_numbers_are_those_of_autograd(forms: str) -> None:
    env = SYSTEMS["epidemic"]()
    plain, compiled = (make(env, forms, engine, **OPTIONS[forms]) for engine in ("autograd", "fused"))
    for trainer in (plain, compiled):
        trainer.run(45 * K + 3)
    moved = [float(x.detach().abs().max()) for x in (*plain.policy.parameters(), *plain.critic.parameters())]
    assert min(moved) > 0.05
    assert_equal(compiled, plain, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_numbers_are_those_of_autograd_after_1000_steps_on_every_system(system: str, forms: str) -> None:
    env = SYSTEMS[system]()
    for options in (ADAM, SGD):
        plain, compiled = (make(env, forms, engine, **options) for engine in ("autograd", "fused"))
        for trainer in (plain, compiled):
            trainer.run(1000)
        assert_equal(compiled, plain, 1e-9)


def test_a_run_that_is_cut_anywhere_is_the_whole_run() -> None:
    """Number for number, and across a checkpoint: but for sums of rewards, which are added up piece by piece."""
    env, forms = SYSTEMS["epidemic"](), "NeighborhoodSoftmax PairwiseCritic"
    whole = make(env, forms, **ADAM)
    whole.run(100)
    pieces = make(env, forms, **ADAM)
    for end in (1, 6, 7, 20, 21, 34, 90, 100):
        pieces.run(end - pieces.t)
        state = pieces.state_dict()
        pieces = make(env, forms, **ADAM)
        pieces.load_state_dict(state)
    one, other = whole.state_dict(), pieces.state_dict()
    for key in one.keys() - {"network", "interval", "logged_reward"}:
        torch.testing.assert_close(other[key], one[key], rtol=0, atol=0)
    torch.testing.assert_close(other["interval"], one["interval"], rtol=1e-13, atol=0)


def test_replicas_are_solo_runs_whatever_the_threads(cores: int) -> None:
    assert cores > 1
    env, forms = SYSTEMS["epidemic"](), "NeighborhoodSoftmax PairwiseCritic"
    together, alone = make(env, forms, replicas=3, **ADAM), make(env, forms, replicas=1, seed=5, **ADAM)
    for trainer in (together, alone):
        trainer.run(200)
    for x, y in zip(together.policy.parameters(), alone.policy.parameters(), strict=True):
        assert torch.equal(x[2], y[0])


def test_the_law_may_change_between_pieces() -> None:
    forms = "TabularSoftmax AdditiveCritic"
    trainers = [make(SYSTEMS["epidemic"](), forms, engine, **OPTIONS[forms]) for engine in ("autograd", "fused")]
    for trainer in trainers:
        trainer.run(30)
        trainer.env = Epidemic("ring:5", infection=0.1, recovery=0.9)
        trainer.run(100)
    assert_equal(*trainers, 1e-9)


def test_both_engines_diverge_at_the_same_step() -> None:
    env, forms = SYSTEMS["epidemic"](), "TabularSoftmax AdditiveCritic"
    said = []
    for engine in ("autograd", "fused"):
        trainer = make(env, forms, engine, **{**OPTIONS[forms], "critic_scheduler": PowerLaw(1e200, 0.0)})
        with pytest.raises(DivergedError) as error:
            trainer.run(100)
        said.append(str(error.value))
    assert said[0] == said[1]


class OtherAdam(torch.optim.Adam):
    """An Adam that may do anything."""


OBSTACLES: dict[str, tuple[dict[str, Any], str]] = {
    "natural": ({"natural": 0.1}, "trainer.natural has no compiled form"),
    "float32": ({"dtype": torch.float32}, "of another precision than float64"),
    "momentum": ({"actor_optimizer": lambda x, lr: torch.optim.SGD(x, lr=lr, momentum=0.5)}, "not plain SGD"),
    "another Adam": ({"actor_optimizer": OtherAdam}, "OtherAdam"),
    "decay": ({"actor_optimizer": lambda x, lr: torch.optim.Adam(x, lr=lr, weight_decay=0.1)}, "is not plain Adam"),
    "critic": ({"critic_optimizer": torch.optim.Adam}, "optimizer of the critic"),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_what_cannot_be_compiled_is_said_and_learned_by_autograd(case: str) -> None:
    changes, said = OBSTACLES[case]
    env, forms = SYSTEMS["epidemic"](), "TabularSoftmax AdditiveCritic"
    options = {"actor_scheduler": PowerLaw(0.1, 0.2), **changes}
    with pytest.raises(ConfigError, match=said):
        make(env, forms, **options)
    trainer = make(env, forms, "auto", **options)
    assert trainer.engine == "autograd"
    trainer.run(3 * K)
    assert any(bool(x.detach().any()) for x in trainer.policy.parameters())


def test_a_critic_without_a_form_is_named() -> None:
    env = SYSTEMS["epidemic"]()
    steps = {"critic_scheduler": PowerLaw(0.1, 0.2), "actor_scheduler": PowerLaw(0.1, 0.2)}
    with pytest.raises(ConfigError, match="NeuralCritic has no compiled form"):
        RolloutActorCritic(env, TabularSoftmax(env), NeuralCritic(env, kappa=1), engine="fused", **steps)


def test_what_is_changed_later_ends_a_compiled_run() -> None:
    forms = "TabularSoftmax AdditiveCritic"
    trainer = make(SYSTEMS["epidemic"](), forms, **OPTIONS[forms])
    trainer.run(K)
    next(trainer.policy.parameters()).register_hook(lambda gradient: 2.0 * gradient)
    with pytest.raises(ConfigError, match="cannot go on: a parameter of this TabularSoftmax has hooks"):
        trainer.run(K)
