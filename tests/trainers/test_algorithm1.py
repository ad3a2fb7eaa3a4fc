"""ScalableActorCritic against Algorithm 1 written out in loops, on the same noise."""

import functools
import itertools

import pytest
import torch

from marl.core.noise import Noise, Purpose
from marl.critics import TabularCritic
from marl.envs import WirelessAccess
from marl.policies import TabularSoftmax
from marl.schedulers import PowerLaw
from marl.trainers import ScalableActorCritic
from tests.conftest import written_out
from tests.oracles import Algorithm1Result, algorithm1, hop_neighborhood, neighbors

STEPS = 150
ALPHA = PowerLaw(0.9, 0.3)
ETA = PowerLaw(20.0, 0.2)


NETWORKS = {
    "mixed": WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[2, 1, 2], arrival=0.8, instance_seed=5),
    "any_slot": WirelessAccess(
        incidence=[[0], [0, 1], [1], [1]], deadline=[1, 2, 1, 1], arrival=0.7, action_set="any_slot", instance_seed=2
    ),
    "grid": WirelessAccess(rows=2, cols=3, instance_seed=3),
}


def dummy_pair(env: WirelessAccess, kappa: int) -> tuple[int, list[tuple[tuple[int, int], ...]]]:
    """Compact pair 1 of every agent, also as the oracle writes it: one that is visited often."""
    pair = [tuple((env.pair_index[i] == 1).nonzero()[0].tolist()) for i in range(env.n)]
    adjacent = neighbors(written_out(env))
    return 1, [tuple(pair[j] for j in hop_neighborhood(adjacent, i, kappa)) for i in range(env.n)]


def trained(
    env: WirelessAccess, kappa: int, storage: str, with_dummy: bool, rescale: bool, engine: str
) -> ScalableActorCritic:
    trainer = ScalableActorCritic(
        env,
        TabularSoftmax(env),
        TabularCritic(env, kappa=kappa, storage=storage, dummy=dummy_pair(env, kappa)[0] if with_dummy else None),
        critic_scheduler=ALPHA,
        actor_scheduler=ETA,
        rescale=rescale,
        seed=11,
        engine=engine,
    )
    trainer.run(STEPS)
    return trainer


@functools.cache
def written_out_run(name: str, kappa: int, with_dummy: bool, rescale: bool) -> Algorithm1Result:
    """The same by loops, once for both storages and both engines."""
    env = NETWORKS[name]
    noise = Noise(11, 1, env.n, 3, Purpose.TRAINING)
    uniforms = [noise(t)[0].tolist() for t in range(STEPS + 1)]
    dummy = dummy_pair(env, kappa)[1] if with_dummy else None
    return algorithm1(written_out(env), kappa, uniforms, ALPHA, ETA, dummy, rescale)


Entry = tuple[int, tuple[tuple[int, int], ...]]


def neighborhood_values(trainer: ScalableActorCritic, entries: list[Entry]) -> list[float]:
    """Q_i at the given neighborhood pairs; agents outside play pair 0 and must not matter."""
    env, critic = trainer.env, trainer.critic
    s, a = torch.zeros(2, len(entries), 1, env.n, dtype=torch.long)
    for k, (i, pairs) in enumerate(entries):
        members = critic.neighborhood.index[i, critic.neighborhood.mask[i]].tolist()
        for j, (s_j, a_j) in zip(members, pairs, strict=True):
            s[k, 0, j], a[k, 0, j] = s_j, a_j
    agents = torch.tensor([i for i, _ in entries])
    return critic.q(s, a)[torch.arange(len(entries)), 0, agents].tolist()


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize("storage", ["dense", "hash"])
@pytest.mark.parametrize(("with_dummy", "rescale"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_loops(name: str, kappa: int, with_dummy: bool, rescale: bool, storage: str, engine: str) -> None:
    trainer = trained(NETWORKS[name], kappa, storage, with_dummy, rescale, engine)
    oracle = written_out_run(name, kappa, with_dummy, rescale)
    assert trainer.s[0].tolist() == list(oracle.states[STEPS])
    assert trainer.a[0].tolist() == list(oracle.actions[STEPS])
    torch.testing.assert_close(trainer.critic.mu[0], torch.tensor(oracle.mu, dtype=torch.float64), rtol=0, atol=1e-10)
    theta = trainer.policy.theta[0]
    moved = 0.0
    for i, by_state in enumerate(oracle.theta):
        for s, row in enumerate(by_state):
            assert theta[i, s, : len(row)].tolist() == pytest.approx(row, rel=0, abs=1e-10)
            moved = max(moved, *map(abs, row))
    assert moved > 0.01, "the comparison says nothing unless theta moved"
    entries = [(i, pairs) for i, table in enumerate(oracle.q) for pairs in table]
    expected = [oracle.q[i][pairs] for i, pairs in entries]
    assert max(map(abs, expected)) > 0.1
    assert neighborhood_values(trainer, entries) == pytest.approx(expected, rel=0, abs=1e-10)
