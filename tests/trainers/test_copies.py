"""Copies of the environment are further trajectories of the same replica, learned from together."""

from typing import Any

import numpy as np
import pytest
import torch

from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError
from marl.core.noise import Purpose, uniforms
from marl.critics import NeuralStateValue
from marl.envs import Epidemic
from marl.policies import NeighborhoodNeural, NeighborhoodTable
from marl.schedulers import Constant
from marl.trainers import KappaHopPPO, LocalizedPolicyIteration
from marl.trainers.credited import CreditedActorCritic

COPIES, K, SEED = 3, 10, 4
KINDS: dict[str, dict[str, Any]] = {
    "autograd": {"engine": "autograd"},
    "fused": {"engine": "fused"},
    "policy iteration": {"kind": LocalizedPolicyIteration},
    "soft": {"kind": LocalizedPolicyIteration, "improvement": "soft"},
}


@pytest.fixture
def env() -> Epidemic:
    return Epidemic("ring:4", infection=0.6, recovery=0.3)


def make(env: FiniteEnvironment, replicas: int = 2, seed: int = SEED, **changes: Any) -> CreditedActorCritic:
    kind = changes.pop("kind", KappaHopPPO)
    policy = NeighborhoodNeural if kind is KappaHopPPO else NeighborhoodTable
    parts = (
        policy(env, replicas=replicas, seed=seed),
        NeuralStateValue(env, kappa=1, hidden=3, replicas=replicas, seed=seed),
    )
    sizes = {"critic_scheduler": Constant(0.02), "actor_scheduler": Constant(0.03)}
    settings = {"copies": COPIES, "rollout": K, "minibatches": 4, "seed": seed, "log_every": 10**6, **sizes, **changes}
    return kind(env, *parts, **settings)


def noise(b: int, copy: int, times: int, agents: int, width: int) -> np.ndarray:
    """The stream of one copy, by its definition. Shapes: [times, n, width]."""
    source = np.random.SeedSequence([int(Purpose.TRAINING), SEED + b], spawn_key=(copy,) if copy else ())
    return uniforms(source.generate_state(1, np.uint64), 0, times * agents * width).reshape(times, agents, width)


@pytest.mark.parametrize("compiled", [True, False])
def test_every_copy_is_a_trajectory_of_its_own(env: Epidemic, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps, one agent's draw after the other, and advantages by the sums that define them."""
    if not compiled:
        monkeypatch.setattr("marl.trainers.rollout.Collector.compiled_step", lambda self: None)
    trainer = make(env, engine="autograd")
    estimated: dict[str, Any] = {}
    real = trainer._estimate
    monkeypatch.setattr(trainer, "_estimate", lambda *given: estimated.setdefault("it", real(*given)))
    with torch.no_grad():
        value, chance = trainer.critic.q, trainer.policy.probs
        states = {}
        for b in range(2):
            for copy in range(COPIES):
                u = torch.from_numpy(noise(b, copy, K + 1, env.n, env.num_uniforms + 1))
                s, pairs = env.reset(u[None, 0, :, :-1]), []
                for t in range(K + 1):
                    cdf = chance(s.expand(2, -1))[b].cumsum(dim=-1)
                    a = (u[t, :, -1:] >= cdf).sum(dim=-1)[None]
                    pairs.append((s[0], a[0], value(s.expand(2, -1), a.expand(2, -1))[b]))
                    if t < K:
                        s, r = env.step(s, a, u[None, t + 1, :, :-1])
                        pairs[-1] = (*pairs[-1], r[0])
                states[b, copy] = pairs
    trainer.run(K)
    seen, near = trainer.buffer.rollout, env.network.neighborhood(1)
    for (b, copy), pairs in states.items():
        row = copy * 2 + b
        assert torch.equal(seen.s[:, row], torch.stack([pair[0] for pair in pairs]))
        assert torch.equal(seen.a[:K, row], torch.stack([pair[1] for pair in pairs[:K]]))
        mean = sum(p[3] for c in range(COPIES) for p in states[b, c][:K]) / (COPIES * K)
        advantage = torch.zeros(K, env.n, dtype=torch.float64)
        for t in range(K):
            for later in range(t, K):
                delta = pairs[later][3] - mean + pairs[later + 1][2] - pairs[later][2]
                advantage[t] += trainer.trace_decay ** (later - t) * delta
        for i in range(env.n):
            around = sum(advantage[:, j] for j in near.index[i][near.mask[i]].tolist())
            found = estimated["it"].credited.view(K, COPIES, 2, env.n)[:, copy, b, i]
            torch.testing.assert_close(found, around, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_replicas_pieces_and_what_is_resumed(env: Epidemic, name: str) -> None:
    """A replica among others has the numbers of the run alone; so have a run in pieces and one that is taken up again."""
    whole, pieces = make(env, **KINDS[name]), make(env, **KINDS[name])
    whole.run(4 * K + 3)
    for steps in (7, 2 * K, K - 4):
        pieces.run(steps)
    resumed = make(env, **KINDS[name])
    resumed.load_state_dict(pieces.state_dict())
    resumed.run(whole.t - pieces.t)
    solo = make(env, replicas=1, seed=SEED + 1, **KINDS[name])
    solo.run(4 * K + 3)
    for key, x in whole.policy.state_dict().items():
        assert torch.equal(resumed.policy.state_dict()[key], x)
        torch.testing.assert_close(solo.policy.state_dict()[key][0], x[1], rtol=0, atol=1e-9)
    assert torch.equal(resumed.s, whole.s)
    assert torch.equal(solo.s, whole.s[1::2])


def test_compiled_steps_are_those_of_autograd(env: Epidemic) -> None:
    runs = [make(env, engine=engine) for engine in ("fused", "autograd")]
    for run in runs:
        run.run(8 * K)
    for found, expected in zip(*(run.policy.parameters() for run in runs), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(runs[0].interval.loss, runs[1].interval.loss)


def test_one_copy_is_the_plain_run(env: Epidemic) -> None:
    """The first copy has the stream of the replica, so it starts as a run without others does."""
    one, many = make(env, copies=1), make(env)
    one.run(K - 1)
    many.run(K - 1)
    assert torch.equal(many.s[:2], one.s)
    assert not torch.equal(many.s[2:4], one.s)


def test_what_is_refused(env: Epidemic) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.copies"):
        make(env, copies=0)
    with pytest.raises(ConfigError, match="more than the 30 steps"):
        make(env, minibatches=31)
