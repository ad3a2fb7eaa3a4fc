"""What users do to objects after a trainer was made of them: both engines honor it, or it is refused in a sentence."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from marl import (
    AdditiveCritic,
    Coloring,
    ConfigError,
    Constant,
    NeuralCritic,
    RolloutActorCritic,
    ScalableActorCritic,
    TabularCritic,
    TabularSoftmax,
    WirelessAccess,
)
from marl.core.environment import Environment
from marl.trainers.actor_critic import ActorCritic
from marl.trainers.evaluation import evaluate
from tests.trainers.test_fused import assert_equal, trainer

ENGINES = ("fused", "autograd")


def small() -> WirelessAccess:
    return WirelessAccess(rows=2, cols=3)


def both(**extra: Any) -> tuple[ScalableActorCritic, ScalableActorCritic]:
    one, other = (trainer(small(), engine, 1, **extra) for engine in ENGINES)
    for run in (one, other):
        run.run(50)
    return one, other


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", ["policy", "critic"])
def test_another_part_is_refused(engine: str, part: str) -> None:
    run = trainer(small(), engine, 1)
    run.run(5)
    setattr(run, part, getattr(trainer(small(), engine, 1), part))
    with pytest.raises(ConfigError, match=f"the {part} of this trainer was replaced"):
        run.run(5)


def rollouts(engine: str) -> RolloutActorCritic:
    env = small()
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    if engine == "autograd":
        env.step = env.step  # type: ignore[method-assign]  # a step of its own is not compiled
    return RolloutActorCritic(env, TabularSoftmax(env), AdditiveCritic(env, kappa=1), rollout=5, **sizes)


@pytest.mark.parametrize("made", [functools.partial(trainer, small(), kappa=1), rollouts], ids=["step by step", "rollouts"])
def test_another_environment_of_the_same_sizes_counts_from_then_on(made: Callable[..., ActorCritic]) -> None:
    runs = [made(engine=engine) for engine in ENGINES]
    for run in runs:
        run.run(47)
        run.env = WirelessAccess(rows=2, cols=3, arrival=1.0, success=0.5)
        run.run(150)
    one, other = runs
    assert torch.equal(one.s, other.s)
    assert torch.allclose(one.total_reward, other.total_reward)
    untouched = made(engine="fused") if made is rollouts else trainer(small(), "fused", 1)
    untouched.run(197)
    assert not torch.allclose(untouched.total_reward, one.total_reward)
    for run in runs:
        before = run.total_reward
        run.env = WirelessAccess(rows=2, cols=3, arrival=0.0)
        run.run(2)  # the last packets are gone then
        gone = run.total_reward
        run.run(100)
        assert torch.equal(gone, run.total_reward)
        assert (before <= gone).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: WirelessAccess(rows=3, cols=2), "agent 1 has 3 actions there and 2 here"),
        (lambda: WirelessAccess(rows=2, cols=3, deadline=1), "agent 0 has 4 states there and 2 here"),
        (lambda: Coloring("ring:6"), "replaced by a Coloring that takes its steps in another way"),
    ],
    ids=["network", "sizes", "class"],
)
def test_an_environment_that_does_not_fit_is_refused(engine: str, other: Callable[[], Environment], message: str) -> None:
    run = trainer(small(), engine, 1)
    run.run(5)
    run.env = other()
    with pytest.raises(ConfigError, match=message):
        run.run(5)
    assert run.t == 5


def test_numbers_of_the_environment_that_were_written_to_count_at_once() -> None:
    runs = both()
    for run in runs:
        run.env.arrival[:] = 1.0
        run.env.success.numpy()[:] = 0.5
        run.run(150)
        run.env.deadline[0] = 1
        run.run(20)
    assert_equal(*runs)
    untouched = both()[0]
    untouched.run(170)
    assert not torch.equal(untouched.s, runs[0].s)


def test_hooks_of_an_earlier_version_are_refused() -> None:
    """They would not be called any more."""

    class Growing(NeuralCritic):
        def visit(self, s: torch.Tensor, a: torch.Tensor) -> None: ...

        def metrics(self) -> dict[str, float]:
            return {}

    env = small()
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    with pytest.raises(ConfigError, match=r"Growing defines visit, metrics, which trainers no longer call: .*marl\.Table"):
        ScalableActorCritic(env, TabularSoftmax(env), Growing(env), **sizes)


@pytest.mark.parametrize("engine", ENGINES)
def test_legal_actions_that_were_written_to_are_refused(engine: str) -> None:
    run = trainer(small(), engine, 1)
    run.run(5)
    run.env.action_mask[0, 1, 1] = False
    with pytest.raises(ConfigError, match="the legal actions of this WirelessAccess were written to"):
        run.run(5)


def test_written_numbers_count_in_an_evaluation() -> None:
    env = small()
    run = trainer(env, "fused", 1, 1)
    before = evaluate(env, run.policy, steps=2000).average_reward.item()
    env.arrival[:] = 0.0
    assert before > 0.05
    assert evaluate(env, run.policy, steps=2000).average_reward.item() == 0.0


def silent(s: torch.Tensor, a: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return s, torch.zeros(s.shape, dtype=torch.float64)


def test_a_replaced_method_is_seen_when_the_trainer_is_made() -> None:
    env = small()
    env.step = silent  # type: ignore[method-assign]
    assert trainer(env, "auto", 1).engine == "autograd"
    with pytest.raises(ConfigError, match="step of this WirelessAccess was replaced"):
        trainer(env, "fused", 1)
    assert evaluate(env, trainer(env, "auto", 1, 1).policy, steps=100).average_reward.item() == 0.0


@pytest.mark.parametrize(
    ("part", "method"),
    [("env", "step"), ("env", "_step"), ("policy", "_logits"), ("critic", "loss"), ("critic", "advantage"), ("", "_step")],
)
def test_a_method_that_is_replaced_later_is_refused_by_the_fused_engine(part: str, method: str) -> None:
    fused, autograd = both()
    for run in (fused, autograd):
        owner = getattr(run, part) if part else run
        setattr(owner, method, getattr(owner, method))
    with pytest.raises(ConfigError, match=rf"{method} of this \w+ was replaced; make the trainer with engine=autograd"):
        fused.run(5)
    autograd.run(5)


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
@pytest.mark.parametrize("part", ["policy", "critic"])
def test_hooks_on_parameters(part: str, register: str) -> None:
    fused, autograd = both()
    seen: list[Any] = []
    for run in (fused, autograd):
        (parameter,) = getattr(run, part).parameters()
        getattr(parameter, register)(lambda given: seen.append(given))
    with pytest.raises(ConfigError, match="has hooks; make the trainer with engine=autograd"):
        fused.run(5)
    assert not seen
    autograd.run(5)
    assert len(seen) == 5


@pytest.mark.parametrize("register", ["register_step_pre_hook", "register_step_post_hook"])
def test_hooks_on_optimizers(register: str) -> None:
    fused, autograd = both()
    seen: list[Any] = []
    for run in (fused, autograd):
        getattr(run.actor_optimizer, register)(lambda *given: seen.append(given))
    with pytest.raises(ConfigError, match=r"an optimizer \(SGD\) has hooks"):
        fused.run(5)
    autograd.run(5)
    assert len(seen) == 5


def test_an_optimizer_that_becomes_more_than_plain_sgd() -> None:
    fused, _ = both()
    fused.actor_optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(ConfigError, match="SGD with options is not plain SGD"):
        fused.run(5)


def test_parameters_that_no_optimizer_steps_on() -> None:
    fused, autograd = both()
    for run in (fused, autograd):
        run.policy.theta = torch.nn.Parameter(run.policy.theta.detach().clone())
    fused.run(5)
    with pytest.raises(ConfigError, match="actor_optimizer does not step on all parameters of the TabularSoftmax"):
        autograd.run(5)


def test_a_step_size_that_is_replaced_counts() -> None:
    runs = both()
    for run in runs:
        run.alpha = Constant(0.3)
        run.eta._value = lambda t: 0.25  # type: ignore[attr-defined]
        run.run(50)
    assert_equal(*runs)
    assert not torch.equal(runs[0].policy.theta, both()[0].policy.theta)


def test_gamma_that_is_switched_on_counts() -> None:
    runs = both()
    for run in runs:
        run.rescale = True
        run.run(50)
    assert_equal(*runs)
    plain = both()[0]
    plain.run(50)
    assert (plain.policy.theta - runs[0].policy.theta).abs().max() > 1e-3


def test_a_table_of_another_kind_of_critic() -> None:
    """The table is a part of its critic; any other critic has none."""
    env = small()
    assert TabularCritic(env).table is not None
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    with pytest.raises(ConfigError, match=r"trainer\.rescale=true needs the largest .*NeuralCritic is none"):
        ScalableActorCritic(env, TabularSoftmax(env), NeuralCritic(env), rescale=True, **sizes)
