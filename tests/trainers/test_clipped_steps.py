"""The compiled steps of kappa-hop PPO are those of autograd, and are taken only where they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer

from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError, DivergedError
from marl.core.network import Network
from marl.critics import NeuralStateValue, StateValue
from marl.envs import (
    Epidemic,
    Firefighters,
    LoadBalancing,
    Scheduling,
    SysAdmin,
    TrafficSignals,
    WirelessAccess,
    random_local_mdp,
)
from marl.policies import NeighborhoodNeural, SharedPolicy
from marl.schedulers import Constant, Linear
from marl.trainers import IndependentPPO, KappaHopPPO

SYSTEMS: dict[str, Callable[[], FiniteEnvironment]] = {
    "wireless": lambda: WirelessAccess(incidence=[[0], [0, 1], [1, 2], [2, 3], [3]], deadline=[2, 1, 2, 1, 2]),
    "epidemic": lambda: Epidemic(Network.from_edges(6, [(0, 1), (0, 2), (0, 3), (3, 4)]), leak=0.3),
    "load balancing": lambda: LoadBalancing(buffer=[1, 2, 3, 2]),
    "firefighters": lambda: Firefighters(agents=4),
    "scheduling": lambda: Scheduling("line:4", buffer=2),
    "sysadmin": lambda: SysAdmin("ring:4"),
    "traffic": lambda: TrafficSignals(rows=1, cols=2, capacity=1),
    "tables": lambda: random_local_mdp("grid:2x2", [2, 3, 1, 4], [2, 1, 3, 2]),
}
STEPS = 64


def make(env: FiniteEnvironment, engine: str, **changes: Any) -> KappaHopPPO:
    kinds = {"policy": NeighborhoodNeural, "critic": NeuralStateValue, "trainer": KappaHopPPO, "dtype": torch.float64}
    kinds |= {name: changes.pop(name) for name in tuple(kinds) if name in changes}
    run = {"replicas": changes.pop("replicas", 2), "dtype": kinds["dtype"], "seed": 4}
    parts = env, kinds["policy"](env, hidden=5, **run), kinds["critic"](env, kappa=1, hidden=3, **run)
    sizes = {"critic_scheduler": Linear(0.02, 0.0, 8 * STEPS), "actor_scheduler": Constant(0.03)}
    settings = {"rollout": 32, "minibatches": 3, "entropy": 0.02, "engine": engine, "seed": 4, **sizes, **changes}
    return kinds["trainer"](*parts, **settings)


def numbers(trainer: KappaHopPPO) -> list[torch.Tensor]:
    """All that is learned, and what Adam keeps of it."""
    kept = [x for made in trainer.made_optimizers().values() for state in made.state.values() for x in state.values()]
    learned = [*trainer.policy.parameters(), *trainer.critic.parameters(), *trainer.critic.buffers()]
    return [x.detach().double() for x in (*learned, *kept, trainer.s, trainer.a, trainer.interval.loss)]


@pytest.mark.parametrize("name", SYSTEMS)
def test_compiled_steps_are_those_of_autograd(name: str) -> None:
    """After 256 steps in eight updates, in which ratios leave the clipping range; to 1e-9."""
    runs = [make(SYSTEMS[name](), engine) for engine in ("fused", "autograd")]
    for run in runs:
        run.run(4 * STEPS)
    assert [run.engine for run in runs] == ["fused", "autograd"]
    for found, expected in zip(*map(numbers, runs), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert (runs[0].policy.get_parameter("weight") != 0.0).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer": IndependentPPO},
        {"discount": 0.9, "credit": 2, "entropy": Linear(0.1, 0.0, STEPS)},
        {"minibatches": 1, "epochs": 1, "clip": 0.03},
        {"actor_optimizer": lambda x, lr: Adam(x, lr, betas=(0.5, 0.7), eps=1e-3)},
        {"replicas": 1, "rollout": 7},
    ],
)
def test_so_they_are_with_other_settings(changes: dict[str, Any]) -> None:
    runs = [make(SYSTEMS["wireless"](), engine, **changes) for engine in ("fused", "autograd")]
    for run in runs:
        run.run(2 * STEPS)
    for found, expected in zip(*map(numbers, runs), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_single_precision_is_kept() -> None:
    runs = [make(SYSTEMS["wireless"](), engine, dtype=torch.float32) for engine in ("fused", "autograd")]
    for run in runs:
        run.run(32)
        assert {x.dtype for x in (*run.policy.parameters(), *run.critic.parameters())} == {torch.float32}
    for found, expected in zip(*map(numbers, runs), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_any_number_of_threads_gives_the_same_numbers(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """... and pieces, and a checkpoint that the other engine wrote."""
    several = make(SYSTEMS["epidemic"](), "fused")
    several.run(4 * STEPS)
    assert cores > 1
    monkeypatch.setattr("marl.kernels.workers._allowed", 1)
    alone = make(SYSTEMS["epidemic"](), "fused")
    for steps in (5, STEPS, 4 * STEPS - STEPS - 5):
        alone.run(steps)
    assert all(torch.equal(x, y) for x, y in zip(numbers(several), numbers(alone), strict=True))
    saved, resumed = make(SYSTEMS["epidemic"](), "autograd"), make(SYSTEMS["epidemic"](), "fused")
    saved.run(STEPS)
    resumed.load_state_dict(saved.state_dict())
    resumed.run(3 * STEPS)
    for found, expected in zip(numbers(resumed), numbers(several), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


class Other(NeighborhoodNeural):
    """Changes the logits, and does not say that its compiled form is another."""

    def _logits(self, s: torch.Tensor) -> torch.Tensor:
        return 0.5 * super()._logits(s)


class Patient(KappaHopPPO):
    """Changes the loss, and has no compiled form."""

    def _loss(self, *given: Any) -> torch.Tensor:
        return 0.5 * super()._loss(*given)


def test_what_cannot_be_compiled_is_not() -> None:
    env = SYSTEMS["wireless"]()
    told: list[tuple[dict[str, Any], str]] = [
        ({"policy": Other}, "Other does not say whether the compiled form of NeighborhoodNeural is its own"),
        ({"policy": SharedPolicy}, "SharedPolicy has no compiled form"),
        ({"critic": StateValue}, "StateValue has no compiled form"),
        ({"trainer": Patient}, "Patient does not say whether"),
        ({"actor_optimizer": SGD}, "SGD, as it is set, is not plain Adam"),
        ({"critic_optimizer": lambda x, lr: Adam(x, lr, weight_decay=0.1)}, "Adam, as it is set, is not plain Adam"),
        ({"critic_optimizer": lambda x, lr: Adam(x, lr, amsgrad=True)}, "Adam, as it is set, is not plain Adam"),
        (
            {"actor_optimizer": lambda x, lr: Adam([{"params": x[:1]}, {"params": x[1:]}], lr)},
            "Adam, as it is set, is not plain Adam",
        ),
    ]
    for changes, reason in told:
        assert make(env, "auto", **changes).engine == "autograd"
        with pytest.raises(ConfigError, match=f"engine=fused cannot run this: {reason}.*; use auto or autograd"):
            make(env, "fused", **changes)
    with pytest.raises(ConfigError, match=r"trainer.engine must be"):
        make(env, "fast")


def hooked(optimizer: Optimizer, *_: Any) -> None:
    """A hook that does nothing."""


def test_what_was_changed_since_is_told() -> None:
    changes: list[tuple[Callable[[KappaHopPPO], Any], str]] = [
        (lambda run: run.policy.requires_grad_(False), "NeighborhoodNeural is frozen"),
        (lambda run: run.actor_optimizer.register_step_post_hook(hooked), "has hooks"),
        (lambda run: run.critic.embedding.register_hook(lambda gradient: gradient), "has hooks"),
        (lambda run: setattr(run, "_loss", lambda *given: None), "_loss of this KappaHopPPO was replaced"),
    ]
    for change, reason in changes:
        run = make(SYSTEMS["wireless"](), "auto")
        assert run.engine == "fused"
        run.run(32)
        change(run)
        with pytest.raises(ConfigError, match=f"engine=fused cannot go on: .*{reason}"):
            run.run(32)


def test_divergence_is_told() -> None:
    run = make(SYSTEMS["wireless"](), "fused")
    run.run(32)
    run.critic.get_parameter("weight").data[1] = torch.nan
    with pytest.raises(DivergedError, match=r"step 63: .* replica 1;"):
        run.run(64)


def test_probabilities_that_vanish_do_no_harm() -> None:
    """A logit far below the others: its weight is 0, log zeta is not."""
    runs = [make(SYSTEMS["wireless"](), engine) for engine in ("fused", "autograd")]
    for run in runs:
        run.policy.get_parameter("bias").data[..., 0] = -2000.0
        run.run(2 * STEPS)
    for found, expected in zip(*map(numbers, runs), strict=True):
        assert found.isfinite().all()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
