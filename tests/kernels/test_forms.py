"""A new policy form or critic form is one file: compiled loops take forms that the library has never seen."""

from pathlib import Path

import pytest
import torch

from marl import (
    Coloring,
    Constant,
    Environment,
    ScalableActorCritic,
    TabularCritic,
    TabularSoftmax,
    WirelessAccess,
    kernels,
)
from marl.core.critic import Critic
from marl.core.policy import Policy
from tests.kernels.other_forms import BlindSoftmax, CompiledAdditive


def run(env: Environment, policy: Policy, critic: Critic, engine: str) -> ScalableActorCritic:
    sizes = {"critic_scheduler": Constant(0.2), "actor_scheduler": Constant(1.0)}
    trainer = ScalableActorCritic(env, policy, critic, engine=engine, **sizes)
    trainer.run(300)
    return trainer


def assert_equal(fused: ScalableActorCritic, autograd: ScalableActorCritic) -> None:
    assert (fused.engine, autograd.engine) == ("fused", "autograd")
    assert torch.equal(fused.s, autograd.s)
    assert torch.equal(fused.a, autograd.a)
    for part in ("policy", "critic"):
        one, other = (dict(getattr(trainer, part).named_parameters()) for trainer in (fused, autograd))
        for name, parameter in one.items():
            assert torch.allclose(parameter, other[name], rtol=0.0, atol=1e-9)
            assert parameter.abs().max() > 0.01
    assert torch.allclose(fused.critic.mu, autograd.critic.mu, rtol=0.0, atol=1e-9)


def test_a_policy_form_of_ones_own() -> None:
    env = Coloring("ring:6", colors=3)
    assert_equal(
        *(run(env, BlindSoftmax(env, replicas=2), TabularCritic(env, replicas=2), e) for e in ("auto", "autograd"))
    )


def test_a_critic_form_of_ones_own() -> None:
    env = WirelessAccess(rows=3, cols=3)
    parts = ((TabularSoftmax(env, replicas=2), CompiledAdditive(env, kappa=1, replicas=2)) for _ in range(2))
    assert_equal(*(run(env, *given, engine) for given, engine in zip(parts, ("auto", "autograd"), strict=True)))


def test_what_is_kept_on_disk_names_no_form_of_a_user() -> None:
    """... or other programs, which cannot import it, could not read what is kept of the library's own forms."""
    env = WirelessAccess(rows=3, cols=3)  # the loop that was compiled above
    parts = env, TabularSoftmax(env), CompiledAdditive(env)
    ScalableActorCritic(*parts, critic_scheduler=Constant(0.1), actor_scheduler=Constant(1.0), engine="fused").run(5)
    kept = sorted((Path(kernels.__file__).parent / "__pycache__").glob("actor_critic.*.nbi"))
    assert not any(b"other_forms" in path.read_bytes() for path in kept)


@pytest.mark.slow
def test_both() -> None:
    env = Coloring("ring:6", colors=3)
    assert_equal(*(run(env, BlindSoftmax(env), CompiledAdditive(env, kappa=1), e) for e in ("fused", "autograd")))
