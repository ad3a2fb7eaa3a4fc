"""What users do around a compiled run: interrupt it, copy it, fork it, change theta, freeze it, ask for norms."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from marl import (
    ConfigError,
    Constant,
    ContractError,
    ScalableActorCritic,
    TabularCritic,
    TabularSoftmax,
    WirelessAccess,
    evaluate,
)
from marl.kernels.arguments import FusedStep
from tests.critics.experience import table_of
from tests.trainers.interruption import control_c
from tests.trainers.test_fused import assert_equal, trainer


@pytest.fixture
def env() -> WirelessAccess:
    return WirelessAccess(rows=2, cols=3)


def both(env: WirelessAccess, **extra) -> tuple[ScalableActorCritic, ScalableActorCritic]:
    fused, autograd = (trainer(env, engine, 1, **extra) for engine in ("fused", "autograd"))
    return fused, autograd


def test_a_norm_that_is_asked_for_changes_nothing(env: WirelessAccess) -> None:
    runs = both(env)
    for run in runs:
        run.run(100)
        run.critic.table.sup_norm()
        run.run(300)
        largest = [max(map(abs, table_of(run.critic, b).values())) for b in range(run.replicas)]
        assert run.critic.table.sup_norm().tolist() == largest
    assert_equal(*runs)


def test_theta_may_be_replaced_between_runs(env: WirelessAccess) -> None:
    runs = both(env)
    for run in runs:
        run.run(50)
        run.policy.theta.data = run.policy.theta.data * 0.5
        run.run(50)
    assert_equal(*runs)


def test_policy_and_critic_of_different_precision(env: WirelessAccess) -> None:
    """Small steps on theta are not lost to the rounding of the table."""
    runs = []
    for engine in ("fused", "autograd"):
        parts = env, TabularSoftmax(env), TabularCritic(env, dtype=torch.float32)
        run = ScalableActorCritic(*parts, critic_scheduler=Constant(0.1), actor_scheduler=Constant(1e-7), engine=engine)
        with torch.no_grad():
            run.policy.theta[env.action_mask.expand_as(run.policy.theta)] = 1.0
        run.run(200)
        runs.append(run.policy.theta.detach() - 1.0)
    moved = runs[1][env.action_mask.expand_as(runs[1])].abs().max()
    assert torch.allclose(runs[0], runs[1], rtol=0.0, atol=1e-3 * moved)


def test_what_is_frozen_is_not_learned(env: WirelessAccess) -> None:
    policy = TabularSoftmax(env).requires_grad_(False)
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    run = ScalableActorCritic(env, policy, TabularCritic(env), **sizes)
    assert run.engine == "autograd"
    run.run(20)
    assert (policy.theta == 0.0).all()
    later = trainer(env, "fused", 0)
    later.policy.requires_grad_(False)
    with pytest.raises(ConfigError, match="has been frozen"):
        later.run(5)


def test_control_c_leaves_a_whole_trainer(env: WirelessAccess) -> None:
    """Wherever it lands, the trainer is where a run of as many steps is."""
    run = trainer(env, "fused", 1, 1)
    run.log_every = 10**9
    run.run(10)
    with control_c():
        run.run(10**9)
    assert run.interval.steps == run.t == int(run.interval.finite)
    again = trainer(env, "fused", 1, 1)
    again.log_every = run.log_every
    again.run(run.t)
    assert torch.equal(again.policy.theta, run.policy.theta)
    assert torch.equal(again.critic.mu, run.critic.mu)
    assert torch.equal(again.s, run.s)


def test_trainers_can_be_copied(env: WirelessAccess) -> None:
    run = trainer(env, "fused", 1)
    run.run(50)
    copies = [copy.deepcopy(run), pickle.loads(pickle.dumps(run))]
    for other in (run, *copies):
        other.run(50)
    for other in copies:
        assert_equal(other, run)


def _child(queue, theta) -> None:
    run = trainer(WirelessAccess(rows=2, cols=3), "fused", 1, 4, rescale=True)
    run.run(50)
    queue.put(torch.equal(run.policy.theta.detach(), torch.from_numpy(theta)))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_may_fork_after_a_compiled_run(env: WirelessAccess, cores: int) -> None:
    run = trainer(env, "fused", 1, 4, rescale=True)
    run.run(50)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_child, args=(queue, run.policy.theta.detach().numpy().copy()))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    assert queue.get()


def test_a_policy_that_draws_in_its_own_way_is_evaluated_so(env: WirelessAccess) -> None:
    class Greedy(TabularSoftmax):
        def sample(self, s, u):
            return self.log_probs(s).argmax(dim=-1)

    silent = evaluate(env, Greedy(env), steps=100)  # theta = 0: the first legal action, which is silence
    assert silent.average_reward.item() == 0.0


class Broken(WirelessAccess):
    """Its compiled step is `form`."""

    form: FusedStep

    def fused(self) -> FusedStep:
        return self.form


@pytest.mark.parametrize("state", [10**12, -1, 2])
def test_a_step_into_nowhere_is_an_error_and_no_crash(state: int) -> None:
    """User 0, with its deadline of 1, has the states 0 and 1, the others 0 to 3."""
    import numba

    from marl.kernels.steps import STEP

    @numba.njit(STEP)
    def wild(ints, floats, work, s, a, u, next_s, r):
        for i in range(len(s)):
            next_s[i] = ints[0] if i == 0 else 0
            r[i] = 0.0

    env = Broken(rows=2, cols=2, deadline=[1, 2, 2, 2])
    env.form = FusedStep(wild, np.array([state]), np.zeros(1))
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    run = ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env), **sizes)
    with pytest.raises(ContractError, match="compiled step of Broken gave a state that does not exist"):
        run.run(10)
    with pytest.raises(ContractError, match="does not exist"):
        evaluate(env, TabularSoftmax(env), steps=20)
    env.form = env.form._replace(ints=np.zeros(1, dtype=np.int32))
    with pytest.raises(ConfigError, match="ints of the compiled step of Broken must be a plain 1-d array of int64"):
        ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env), **sizes)
