"""The compiled engine against the autograd engine: kinds of tables, numbers of agents and actions, chunks and threads."""

import pytest
import torch

from marl.envs import Coloring, WirelessAccess
from marl.kernels import actor_critic, rollout, workers
from marl.kernels.arguments import UNROLLED
from marl.kernels.softmax_arithmetic import BLOCK
from marl.schedulers import Constant
from tests.trainers.test_fused import (
    ENVIRONMENTS,
    EXTRAS,
    assert_alike_in_float32,
    assert_equal,
    assert_they_grow_together,
    trainer,
)

SMALL = {
    "interior": lambda: WirelessAccess(rows=2, cols=4, deadline=1),
    "corners": lambda: WirelessAccess(rows=1, cols=5, access_points="corners", deadline=1, arrival=0.5),
    "coloring": lambda: Coloring("line:5", colors=2),
}
"""Networks whose joint pairs are few enough for dense tables, kappa = 2 not being all agents."""


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("name", SMALL)
def test_dense_tables(name: str, kappa: int) -> None:
    """With a dummy and Gamma. The dummy, no packet or color anywhere, is met: without it another policy is learned."""
    env = SMALL[name]()
    extra = {"dummy": 0, "rescale": True, "storage": "dense"}
    fused, autograd = (trainer(env, engine, kappa, **extra) for engine in ("fused", "autograd"))
    other = trainer(env, "fused", kappa, rescale=True, storage="dense")
    for run in (fused, autograd, other):
        run.run(400)
    assert_equal(fused, autograd)
    assert fused.critic.fused().keep == -1
    assert not fused.critic.table.grows
    assert not torch.allclose(fused.policy.theta, other.policy.theta, atol=1e-3)


def test_what_was_written_to_a_policy_between_two_runs_is_what_acts() -> None:
    """Of rows that nobody wrote to, the probabilities that are laid out already are kept."""
    env = ENVIRONMENTS["interior"]()
    fused, autograd, other = (trainer(env, engine, 0) for engine in ("fused", "autograd", "fused"))
    for run in (fused, autograd, other):
        run.run(50)
        if run is not other:
            run.policy.theta.data[0, 3, :, 1] += 5.0  # torch does not count it as a change
        run.run(100)
    assert_equal(fused, autograd)
    assert not torch.equal(fused.interval.reward, other.interval.reward)


@pytest.mark.parametrize("kappa", [0, 1])
def test_more_agents_than_a_block(kappa: int) -> None:
    env = WirelessAccess(rows=20, cols=45)
    fused, autograd = (trainer(env, engine, kappa, storage="hash") for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(30)
    assert_equal(fused, autograd)
    legal = env.action_mask[torch.arange(env.n), fused.s].sum(dim=2)
    assert ((legal > 1).sum(dim=1) > BLOCK).all()


@pytest.mark.parametrize("extra", [pytest.param(x, marks=[pytest.mark.slow] * (x in ("gamma", "hash"))) for x in EXTRAS])
def test_discounted_learning_is_the_same_too(extra: str) -> None:
    env = ENVIRONMENTS["tables"]()
    without_mu = {name: value for name, value in EXTRAS[extra].items() if name != "centering"}
    fused, autograd = (trainer(env, engine, 1, discount=0.7, **without_mu) for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(400)
    assert_equal(fused, autograd)
    average = trainer(env, "fused", 1, **EXTRAS[extra])
    average.run(400)
    assert not torch.allclose(average.policy.theta, fused.policy.theta, atol=1e-3)


def test_float32_learns_the_same_to_its_precision() -> None:
    env = ENVIRONMENTS["interior"]()
    fused, autograd = (trainer(env, engine, 1, dtype=torch.float32) for engine in ("fused", "autograd"))
    assert_alike_in_float32(fused, autograd)


def test_more_actions_than_are_unrolled() -> None:
    env = WirelessAccess(rows=2, cols=2, access_points="corners", deadline=5, action_set="any_slot")
    assert env.action_mask.shape[2] > UNROLLED
    fused, autograd = (trainer(env, engine, 0) for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(200)
    assert_equal(fused, autograd)


def test_another_network_needs_no_other_code() -> None:
    """Nor do other hops, another system, more replicas, dummies, step sizes or evaluations of another length."""
    counts = []
    for env, kappa, replicas, extra in (
        (ENVIRONMENTS["interior"](), 1, 2, {}),
        (WirelessAccess(rows=4, cols=3, deadline=3), 2, 3, {"dummy": 0}),
        (Coloring("ring:6", colors=5), 0, 1, {}),
    ):
        run = trainer(env, "fused", kappa, replicas, storage="hash", **extra)
        run.alpha = Constant(0.3)
        run.run(5)
        run.evaluate(20 + kappa)
        loops = (actor_critic.lay_out, actor_critic.advance_in_turn, actor_critic.take_back, rollout.rollout_in_turn)
        counts.append([len(loop.signatures) for loop in loops])
    assert counts[0] == counts[1] == counts[2]
    assert min(counts[0]) > 0


def test_one_and_two_worker_threads(cores: int) -> None:
    """Bit for bit, with more replicas than threads."""
    env = WirelessAccess(rows=2, cols=3)
    runs, evaluated = [], []
    for threads in (1, min(2, cores)):
        workers.use(threads)
        run = trainer(env, "fused", 1, 5, rescale=True)
        run.run(1000)
        runs.append(run)
        evaluated.append(run.evaluate(200).agent_reward)
    assert torch.equal(*evaluated)
    assert torch.equal(runs[0].policy.theta, runs[1].policy.theta)
    assert torch.equal(runs[0].critic.table.values, runs[1].critic.table.values)
    assert torch.equal(runs[0].critic.mu, runs[1].critic.mu)


@pytest.mark.parametrize("chunk", [1, 7, 128])
@pytest.mark.parametrize("kappa", [0, 1])
def test_pieces_and_replicas(kappa: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any chunk length gives the whole run, and replica b is the solo run of seed b, bit for bit.

    kappa = 0 is dense, kappa = 1 hashed, whose chunks are powers of two.
    """
    env = ENVIRONMENTS["interior"]()
    whole = trainer(env, "fused", kappa, 3)
    whole.run(300)
    monkeypatch.setattr("marl.trainers.fused_engine.CHUNK", chunk)
    monkeypatch.setattr("marl.trainers.fused_engine.CALL", chunk * env.n)
    pieces = trainer(env, "fused", kappa, 3)
    assert pieces.critic.table.grows == (kappa == 1)
    assert pieces._fused._longest == (4 if chunk == 7 else chunk)
    for steps in (1, 99, 7, 193):
        pieces.run(steps)
    assert_equal(whole, pieces)
    assert torch.equal(whole.policy.theta, pieces.policy.theta)
    assert not torch.equal(whole.policy.theta, torch.zeros_like(whole.policy.theta))
    solo = trainer(env, "fused", kappa, 1)
    solo.run(300)
    assert torch.equal(solo.policy.theta[0], whole.policy.theta[0])


def test_calls_of_a_large_network_get_past_the_room_that_its_table_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call would be shorter than the steps that room is made for."""
    env = ENVIRONMENTS["interior"]()
    whole = trainer(env, "fused", 1)
    whole.run(300)
    monkeypatch.setattr("marl.trainers.fused_engine.CALL", env.n)
    cut = trainer(env, "fused", 1)
    assert cut._fused._longest_call >= cut._fused._longest > 1
    cut.run(300)
    assert torch.equal(whole.policy.theta, cut.policy.theta)


def test_how_a_run_is_cut_is_not_seen_in_its_table() -> None:
    """The clock cuts a run into calls: a hash table grows at the same steps, and every slot is the same."""
    env = WirelessAccess(rows=2, cols=3)
    whole, pieces = (trainer(env, "fused", 1, 2, storage="hash") for _ in range(2))
    assert_they_grow_together(whole, pieces)
    for b in range(2):
        assert (whole.critic.table.storage.row(b) == pieces.critic.table.storage.row(b)).all()


def test_a_growing_table_loses_nothing() -> None:
    env = WirelessAccess()
    fused, autograd = (trainer(env, engine, 1, 1) for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(400)
    assert_equal(fused, autograd)
    assert fused.critic.table.metrics()["entries"] == autograd.critic.table.metrics()["entries"] > 2**11
