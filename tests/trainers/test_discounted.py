"""DiscountedActorCritic: against its equations in loops, both engines, pieces, replicas, resumption, refusals."""

import copy
import functools
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from marl.core.environment import Environment, NetworkedMDP
from marl.core.errors import CheckpointError, ConfigError, DivergedError, NotEnoughMemoryError
from marl.core.noise import Noise, Purpose
from marl.critics import NeuralCritic, TabularCritic
from marl.envs import Coloring, WirelessAccess, random_local_mdp
from marl.kernels import workers
from marl.loggers import ArrayLogger
from marl.policies import NeuralPolicy, TabularSoftmax, Uniform
from marl.schedulers import Constant, PowerLaw, Restarting
from marl.trainers import DiscountedActorCritic
from marl.trainers.rollout import Collector
from tests.conftest import written_out
from tests.critics.experience import table_of as entries_of
from tests.oracles import hop_neighborhood, inverse_cdf, legal, neighbors, num_actions, wireless_reset, wireless_step
from tests.trainers.discounted_oracle import Model, Result, discounted_actor_critic
from tests.trainers.interruption import control_c
from tests.trainers.test_fused import assert_alike_in_float32, assert_they_grow_together

HORIZON = 7
EPISODES = 30
ENVIRONMENTS = {
    "interior": lambda: WirelessAccess(rows=2, cols=3, instance_seed=3),
    "corners": lambda: WirelessAccess(rows=2, cols=2, access_points="corners", deadline=[1, 2, 3, 1]),
    "any-slot": lambda: WirelessAccess(
        incidence=[[0], [0, 1], [1], [1, 2]], deadline=[1, 2, 1, 2], arrival=0.7, action_set="any_slot", instance_seed=2
    ),
    "tables": lambda: random_local_mdp("line:5", [2, 3, 2, 1, 3], [2, 1, 3, 2, 2], private_actions=False, reward_low=-1.0),
}
EXTRAS: dict[str, dict[str, Any]] = {
    "dense": {"storage": "dense"},
    "dummy": {"storage": "dense", "dummy": 1},
    "all": {"storage": "hash", "dummy": 1},
}


def sizes() -> dict[str, Any]:
    return {"critic_scheduler": Restarting(0.9, 10 * HORIZON), "actor_scheduler": PowerLaw(20.0, 0.2)}


def make(
    env: Environment, engine: str, kappa: int, replicas: int = 2, seed: int = 0, **extra: Any
) -> DiscountedActorCritic:
    table = {key: extra.pop(key) for key in ("dummy", "storage") if key in extra}
    dtype = extra.pop("dtype", torch.float64)
    return DiscountedActorCritic(
        env,
        TabularSoftmax(env, replicas=replicas, dtype=dtype),
        TabularCritic(env, kappa=kappa, replicas=replicas, dtype=dtype, **table),
        engine=engine,
        seed=seed,
        **{"horizon": HORIZON, **sizes(), **extra},
    )


def fitting(name: str, kappa: int, extra: str) -> dict[str, Any]:
    """Dense tables of two hops over many actions are not for tests."""
    large = kappa > (0 if name in ("corners", "any-slot", "coloring") else 1) and name != "tables"
    return {**EXTRAS[extra], **({"storage": "hash"} if large else {})}


def model_of(env: NetworkedMDP, kappa: int) -> Model:
    """What the oracle samples: the wireless network written out, or tables asked one pair at a time."""
    if isinstance(env, WirelessAccess):
        written = written_out(env)
        agents = range(env.n)
        return Model(
            hop=[hop_neighborhood(neighbors(written), i, kappa) for i in agents],
            actions=[num_actions(written, i) for i in agents],
            legal=[[legal(written, i, s) for s in range(2 ** written.deadline[i])] for i in agents],
            reset=lambda u: wireless_reset(written, u),
            step=lambda s, a, u: wireless_step(written, s, a, u),
        )
    near: list[list[int]] = [[i] for i in range(env.n)]
    for i, j in env.network.edges.tolist():
        near[i].append(j)
        near[j].append(i)
    states, actions = env.num_states.tolist(), env.num_actions.tolist()

    def step(s: list[int], a: list[int], u: Any) -> tuple[list[int], list[float]]:
        rows = env.transition(torch.tensor([s]), torch.tensor([a]))[0].tolist()
        paid = env.reward(torch.tensor([s]), torch.tensor([a]))[0].tolist()
        return [inverse_cdf(row, given[-1]) for row, given in zip(rows, u, strict=True)], paid

    return Model(
        hop=[hop_neighborhood(near, i, kappa) for i in range(env.n)],
        actions=actions,
        legal=[[list(range(count))] * size for count, size in zip(actions, states, strict=True)],
        reset=lambda u: [int(row[-1] * size) for row, size in zip(u, states, strict=True)],
        step=step,
    )


def different(*names: str) -> list[tuple[str, int, str]]:
    """Every setting once: where a table has to be hashed, "dummy" is "all"."""
    every = itertools.product(names, [0, 1, 2], EXTRAS)
    return [case for case in every if case[2] != "dummy" or fitting(*case)["storage"] == "dense"]


@functools.cache
def written_out_run(name: str, kappa: int, dummy: int | None) -> tuple[Model, Result]:
    """30 episodes by loops, once for both storages and both engines."""
    env = ENVIRONMENTS[name]()
    model, pairs = model_of(env, kappa), None
    if dummy is not None:
        pair = [tuple((env.pair_index[i] == dummy).nonzero()[0].tolist()) for i in range(env.n)]
        pairs = [tuple(pair[j] for j in hop) for hop in model.hop]
    width = env.num_uniforms + 1
    noise, fresh = (Noise(11, 1, env.n, width, purpose) for purpose in (Purpose.TRAINING, Purpose.EPISODE))
    uniforms = [noise(k)[0].tolist() for k in range(EPISODES * HORIZON + 1)]
    starts = [fresh(m)[0].tolist() for m in range(EPISODES + 1)]
    alpha, eta = sizes()["critic_scheduler"], sizes()["actor_scheduler"]
    return model, discounted_actor_critic(model, HORIZON, EPISODES, 0.7, alpha, eta, uniforms, starts, pairs)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize(("name", "kappa", "extra"), different(*ENVIRONMENTS))
def test_equals_the_loops(name: str, kappa: int, extra: str, engine: str) -> None:
    env, logged = ENVIRONMENTS[name](), ArrayLogger()
    table = fitting(name, kappa, extra)
    trainer = make(env, engine, kappa, 1, seed=11, log_every=HORIZON, loggers=[logged], **table)
    trainer.run(EPISODES * HORIZON)
    model, oracle = written_out_run(name, kappa, table.get("dummy"))

    assert (trainer.s[0].tolist(), trainer.a[0].tolist()) == (oracle.s, oracle.a)
    moved = 0.0
    for i, by_state in enumerate(oracle.theta):
        for s, row in enumerate(by_state):
            assert trainer.policy.theta[0, i, s, : len(row)].tolist() == pytest.approx(row, rel=0, abs=1e-10)
            moved = max(moved, *map(abs, row))
    assert moved > 0.1, "the comparison says nothing unless theta moved"
    assert max(abs(value) for learned in oracle.q for value in learned.values()) > 0.1
    for i, learned in enumerate(oracle.q):
        s, a = torch.zeros(2, len(learned), 1, env.n, dtype=torch.int64)
        for k, pairs in enumerate(learned):
            for j, (s_j, a_j) in zip(model.hop[i], pairs, strict=True):
                s[k, 0, j], a[k, 0, j] = s_j, a_j
        assert trainer.critic.q(s, a)[:, 0, i].tolist() == pytest.approx(list(learned.values()), rel=0, abs=1e-10)
    if table["storage"] == "hash":
        assert trainer.critic.table.metrics()["entries"] == sum(map(len, oracle.met))
    returns = logged.arrays()["train/discounted_return"][:, 0]
    assert returns.tolist() == pytest.approx(oracle.returns, rel=0, abs=1e-12)


def held(run: DiscountedActorCritic) -> dict[str, torch.Tensor]:
    """Everything in the state of a run that an algorithm moves, flat."""
    found: dict[str, torch.Tensor] = {}

    def look(path: str, part: Any) -> None:
        if isinstance(part, dict):
            for name, inner in part.items():
                look(f"{path}/{name}", inner)
        elif isinstance(part, (torch.Tensor, int, float)):
            found[path] = torch.as_tensor(part)

    look("", {name: part for name, part in run.state_dict().items() if not name.endswith("_optimizer")})
    return found


def assert_same_bits(one: DiscountedActorCritic, other: DiscountedActorCritic) -> None:
    left, right = held(one), held(other)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def table_of(run: DiscountedActorCritic, b: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, values) of the entries of a replica, keys increasing."""
    held = sorted(entries_of(run.critic, b).items())
    return np.array([key for key, _ in held]), np.array([value for _, value in held])


def assert_equal(one: DiscountedActorCritic, other: DiscountedActorCritic) -> None:
    """State exactly; theta, the table and all sums to 1e-9."""
    t = one.t % one.horizon
    assert one.t == other.t
    assert torch.equal(one.s, other.s)
    assert torch.equal(one.a, other.a)
    assert torch.equal(one.episode.s[:t], other.episode.s[:t])
    assert torch.equal(one.episode.a[:t], other.episode.a[:t])
    assert torch.allclose(one.policy.theta, other.policy.theta, rtol=0.0, atol=1e-9)
    for b in range(one.replicas):
        (keys, values), (other_keys, other_values) = (table_of(run, b) for run in (one, other))
        assert np.array_equal(keys, other_keys)
        assert np.allclose(values, other_values, rtol=0.0, atol=1e-9)
    for part, names in ("interval", ("reward", "loss", "finite")), ("episode", ("running", "ended", "latest")):
        for name in names:
            left, right = (getattr(getattr(run, part), name).double() for run in (one, other))
            assert torch.allclose(left, right, rtol=0.0, atol=1e-9), name
    assert one.interval.steps == other.interval.steps


@pytest.mark.parametrize(("name", "kappa", "extra"), different(*ENVIRONMENTS, "coloring"))
def test_both_engines_give_the_same_run(name: str, kappa: int, extra: str) -> None:
    """It ends in the middle of an episode."""
    env = Coloring("grid:3x3") if name == "coloring" else ENVIRONMENTS[name]()
    fused, autograd = (make(env, engine, kappa, 3, **fitting(name, kappa, extra)) for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(45 * HORIZON + 3)
    assert_equal(fused, autograd)
    assert fused.policy.theta.abs().max() > 0.1


@pytest.mark.parametrize("horizon", [1, 2, 500])
def test_short_and_long_episodes(horizon: int) -> None:
    env = ENVIRONMENTS["interior"]()
    fused, autograd = (make(env, engine, 1, horizon=horizon) for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(503)
    assert_equal(fused, autograd)
    assert fused.policy.theta.abs().max() > 0.1


def test_float32_learns_the_same_to_its_precision() -> None:
    env = ENVIRONMENTS["interior"]()
    fused, autograd = (make(env, engine, 1, dtype=torch.float32) for engine in ("fused", "autograd"))
    assert_alike_in_float32(fused, autograd)


SETTINGS = {
    "autograd": lambda env, seed, replicas, **more: make(env, "autograd", 1, replicas, seed, storage="hash", **more),
    "fused": lambda env, seed, replicas, **more: make(env, "fused", 1, replicas, seed, storage="hash", **more),
    "dense": lambda env, seed, replicas, **more: make(env, "fused", 0, replicas, seed, storage="dense", **more),
    "neural": lambda env, seed, replicas, **more: DiscountedActorCritic(
        env,
        NeuralPolicy(env, seed=seed, replicas=replicas),
        NeuralCritic(env, kappa=1, seed=seed, replicas=replicas),
        critic_scheduler=Constant(0.1),
        actor_scheduler=Constant(5.0),
        horizon=HORIZON,
        seed=seed,
        **more,
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_pieces_and_state_dict_equal_the_whole(name: str) -> None:
    """Bit for bit: pieces of any length, evaluation in between, a checkpoint inside an episode and between log points."""
    env = ENVIRONMENTS["interior"]()
    rows = []
    runs = []
    for pieces in ([120], [1, 4, 30, 2, 1, 3, 9, 70]):
        logged = ArrayLogger()
        run = SETTINGS[name](env, 2, 3, log_every=20, loggers=[logged])
        for piece in pieces:
            run.run(piece)
            run.evaluate(20)
            if piece == 9:
                assert run.t % HORIZON
                saved = copy.deepcopy(run.state_dict())
                run.run(5)
                run = SETTINGS[name](env, 2, 3, log_every=20, loggers=[logged])
                run.load_state_dict(saved)
        runs.append(run)
        arrays = logged.arrays()
        rows.append({tag: arrays[tag] for tag in arrays if not tag.startswith("perf/")})
    assert_same_bits(*runs)
    assert rows[0].keys() == rows[1].keys()
    assert all(np.array_equal(rows[0][tag], rows[1][tag]) for tag in rows[0])
    assert rows[0]["step"].tolist() == [20, 40, 60, 80, 100, 120]


@pytest.mark.parametrize("name", SETTINGS)
def test_batched_equals_solo(name: str) -> None:
    env = ENVIRONMENTS["interior"]()
    batched = SETTINGS[name](env, 5, 4)
    batched.run(150)
    for b in range(4):
        solo = SETTINGS[name](env, 5 + b, 1)
        solo.run(150)
        assert torch.equal(solo.s[0], batched.s[b])
        assert torch.equal(solo.episode.s[: 150 % HORIZON, 0], batched.episode.s[: 150 % HORIZON, b])
        learned = dict(batched.policy.named_parameters())
        for key, alone in solo.policy.named_parameters():
            torch.testing.assert_close(learned[key][b], alone[0], rtol=0, atol=1e-10)
        q, of_all = solo.critic.q(solo.s, solo.a)[0], batched.critic.q(batched.s, batched.a)[b]
        torch.testing.assert_close(of_all, q, rtol=0, atol=1e-10)
        torch.testing.assert_close(batched.episode.running[b], solo.episode.running[0], rtol=0, atol=1e-12)
    assert not torch.equal(batched.s[0], batched.s[1]) or not torch.equal(batched.a[0], batched.a[1])


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_calls_of_any_length(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ENVIRONMENTS["interior"]()
    whole = make(env, "fused", 1, 3)
    whole.run(300)
    monkeypatch.setattr("marl.trainers.fused_engine.CHUNK", chunk)
    pieces = make(env, "fused", 1, 3)
    for steps in (1, 99, 7, 193):
        pieces.run(steps)
    assert_same_bits(whole, pieces)


def test_one_and_two_worker_threads(cores: int) -> None:
    """Bit for bit, with more replicas than threads."""
    env, runs = ENVIRONMENTS["interior"](), []
    for threads in (1, min(2, cores)):
        workers.use(threads)
        runs.append(make(env, "fused", 1, 5, storage="hash"))
        runs[-1].run(40 * HORIZON + 3)
    assert_same_bits(*runs)


def test_how_a_run_is_cut_is_not_seen_in_its_table() -> None:
    """A hash table grows at the same steps, and every slot is the same; T = 3, so that fresh starts weigh."""
    env = ENVIRONMENTS["interior"]()
    whole, pieces = (make(env, "fused", 1, 2, storage="hash", horizon=3, log_every=10**6) for _ in range(2))
    assert_they_grow_together(whole, pieces)
    assert_same_bits(whole, pieces)


def test_room_is_made_for_fresh_starts() -> None:
    """Episodes of one step at 25 agents visit two pairs a step, nearly all of them new: no row is ever filled."""
    env = WirelessAccess(arrival=0.5)
    fused, autograd = (make(env, engine, 2, 1, horizon=1) for engine in ("fused", "autograd"))
    assert fused.memory_ahead(1000)[1] >= autograd.memory_ahead(1000)[1] == autograd.critic.table.growth(2000) > 0
    for run in (fused, autograd):
        run.run(700)
        assert run.critic.table.storage.used[0] <= 2 / 3 * run.critic.table.storage.width[0]
    assert_equal(fused, autograd)
    assert fused.critic.table.storage.used.max() > 1.5 * 25 * 700


def test_engines_take_over_from_each_other_in_an_episode() -> None:
    env = ENVIRONMENTS["tables"]()
    mixed, autograd = make(env, "fused", 1), make(env, "autograd", 1)
    mixed.run(101)
    other = make(env, "autograd", 1)
    other.load_state_dict(copy.deepcopy(mixed.state_dict()))
    other.run(99)
    back = make(env, "fused", 1)
    back.load_state_dict(copy.deepcopy(other.state_dict()))
    back.run(51)
    autograd.run(251)
    assert_equal(back, autograd)


def test_an_episode_is_what_a_rollout_from_its_start_is() -> None:
    """The pairs kept are those that the environment gives under theta(m), from a fresh start with noise of its own."""
    env = ENVIRONMENTS["any-slot"]()
    run = make(env, "fused", 0)
    run.run(3 * HORIZON)
    s, a, t, policy = run.s, run.a, run.t, copy.deepcopy(run.policy)
    u = Noise(0, 2, env.n, env.num_uniforms + 1, Purpose.EPISODE)(3)
    assert torch.equal(s, env.reset(u[..., :-1]))
    assert torch.equal(a, policy.sample(s, u[..., -1]))
    run.run(HORIZON - 1)
    seen = Collector(env, policy)(run.noise, s, a, t, HORIZON - 1)
    assert torch.equal(run.s, seen.s[-1])
    assert torch.equal(run.episode.s[: HORIZON - 1], seen.s[:-1])
    assert torch.equal(run.episode.a[: HORIZON - 1], seen.a[:-1])
    earned = (run.episode.weight[:-1, None] * seen.r.mean(dim=2)).sum(dim=0)
    torch.testing.assert_close(run.episode.running, earned, rtol=0, atol=1e-12)
    assert torch.equal(run.policy.theta, policy.theta)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_the_return_of_every_log_point(engine: str) -> None:
    """Log points that come more often than ends of episodes repeat the last; before the first end, the return so far."""
    env, every, sparse = ENVIRONMENTS["interior"](), ArrayLogger(), ArrayLogger()
    for log_every, logged in ((3, every), (3 * HORIZON, sparse)):
        make(env, engine, 0, log_every=log_every, loggers=[logged]).run(6 * HORIZON)
    single = ArrayLogger()
    make(env, engine, 0, log_every=1, loggers=[single]).run(6 * HORIZON)
    per_step = single.arrays()["train/average_reward"]  # [6 T, B]
    returns = (per_step.reshape(6, HORIZON, 2) * 0.7 ** np.arange(HORIZON)[:, None]).sum(axis=1)
    found = every.arrays()["train/discounted_return"]
    so_far = (per_step[:6] * 0.7 ** np.arange(6)[:, None])[[0, 1, 2, 3, 4, 5]].cumsum(axis=0)
    assert np.allclose(found[:2], so_far[[2, 5]], atol=1e-12)
    assert np.allclose(found[2:], returns[[t // HORIZON - 1 for t in range(9, 6 * HORIZON + 1, 3)]], atol=1e-12)
    grouped = returns.reshape(2, 3, 2).mean(axis=1)
    assert np.allclose(sparse.arrays()["train/discounted_return"], grouped, atol=1e-12)
    assert "critic/mu" not in single.arrays()
    assert sparse.arrays()["schedule/eta"].tolist() == pytest.approx([sizes()["actor_scheduler"](m) for m in (2, 5)])


def test_what_is_not_learned_stays() -> None:
    env = ENVIRONMENTS["interior"]()
    fixed = DiscountedActorCritic(env, Uniform(env), TabularCritic(env), **sizes())
    frozen = DiscountedActorCritic(env, TabularSoftmax(env), TabularCritic(env).requires_grad_(False), **sizes())
    for run in (fixed, frozen):
        assert run.engine == "autograd"
        run.run(25)
    assert fixed.critic.table.values.abs().max() > 0.01
    assert (frozen.critic.table.values == 0.0).all()
    assert (frozen.policy.theta == 0.0).all()


def test_another_optimizer_learns() -> None:
    env = ENVIRONMENTS["interior"]()
    parts = env, TabularSoftmax(env), TabularCritic(env)
    steps = {"critic_scheduler": Constant(0.2), "actor_scheduler": Constant(0.1)}
    run = DiscountedActorCritic(*parts, actor_optimizer=torch.optim.Adam, **steps)
    assert run.engine == "autograd"
    run.run(40)
    assert run.policy.theta.abs().max() > 0.1


def test_learns_on_the_network_that_it_is_for() -> None:
    """Six users, gamma = 0.7, T = 10: the mean return of the last 300 of 3,000 episodes is far above that of the first.

    With kappa = 0 it would fall: what a user's own table says of a point does not know whom it keeps out.
    """
    env, logged = WirelessAccess(rows=2, cols=3, arrival=0.5, success=0.9), ArrayLogger()
    parts = env, TabularSoftmax(env, replicas=4), TabularCritic(env, kappa=1, replicas=4)
    steps = {"critic_scheduler": Restarting(1.0, 1000), "actor_scheduler": Restarting(5.0, 100)}
    run = DiscountedActorCritic(*parts, **steps, log_every=3000, loggers=[logged])
    assert (run.horizon, run.critic.objective.gamma, run.engine) == (10, 0.7, "fused")
    run.run(30_000)
    returns = logged.arrays()["train/discounted_return"]
    assert (returns[-1] > 1.1 * returns[0]).all()


def test_refusals() -> None:
    env = ENVIRONMENTS["interior"]()

    def refused(match: str, policy: Any = None, critic: Any = None, **given: Any) -> None:
        with pytest.raises(ConfigError, match=match):
            DiscountedActorCritic(env, policy or TabularSoftmax(env), critic or TabularCritic(env), **{**sizes(), **given})

    for discount in (0.0, 1.0, 1.5, -0.1):
        refused(r"trainer\.discount must be above 0 and below 1, got .*; for the average reward use", discount=discount)
    refused("trainer.discount must be a finite number", discount=float("nan"))
    for horizon in (0, -1):
        refused("trainer.horizon must be a whole number of at least 1", horizon=horizon)
    with pytest.raises(NotEnoughMemoryError, match=r"trainer\.horizon=100000000000 needs .* GiB"):
        make(env, "auto", 0, horizon=10**11)
    refused("trainer.engine must be one of auto, autograd, fused, got 'gpu'", engine="gpu")
    refused("fused cannot run this: NeuralCritic has no compiled form", critic=NeuralCritic(env), engine="fused")
    refused("fused cannot run this: NeuralPolicy has no compiled form", policy=NeuralPolicy(env), engine="fused")
    refused("the policy has 1 replicas and the critic 2", critic=TabularCritic(env, replicas=2))


def test_a_checkpoint_of_another_horizon_is_refused() -> None:
    env = ENVIRONMENTS["interior"]()
    run, other = make(env, "fused", 0), make(env, "fused", 0, horizon=HORIZON + 1)
    with pytest.raises(CheckpointError, match=f"it has episodes of {HORIZON} steps, this run of trainer.horizon=8"):
        other.load_state_dict(run.state_dict())
    bare = {name: part for name, part in run.state_dict().items() if name != "episode"}
    with pytest.raises(CheckpointError, match="another configuration: it has episodes of 0 steps"):
        other.load_state_dict(bare)


def test_a_subclass_that_changes_a_method_is_not_compiled_behind_its_back() -> None:
    class Longer(DiscountedActorCritic):
        def _improve(self, m):
            return 2.0 * super()._improve(m)

    class Elsewhere(DiscountedActorCritic):
        def starts(self, first, count):
            return super().starts(first + 1, count)

    class Silent(DiscountedActorCritic):
        """Changes nothing, and does not say so."""

    class Chatty(DiscountedActorCritic):
        fused = DiscountedActorCritic.fused

        def _metrics(self):
            return super()._metrics()

    env = ENVIRONMENTS["interior"]()
    parts = env, TabularSoftmax(env), TabularCritic(env)
    engines = [made(*parts, **sizes()).engine for made in (Longer, Elsewhere, Silent, Chatty)]
    assert engines == ["autograd", "autograd", "autograd", "fused"]
    with pytest.raises(
        ConfigError, match="Longer does not say whether the compiled form of DiscountedActorCritic is its own"
    ):
        Longer(*parts, **sizes(), engine="fused")


def test_trainers_can_be_copied() -> None:
    run = make(ENVIRONMENTS["interior"](), "fused", 1)
    run.run(50)
    copies = [copy.deepcopy(run), pickle.loads(pickle.dumps(run))]
    for other in (run, *copies):
        other.run(50)
    for other in copies:
        assert_same_bits(other, run)


def test_control_c_leaves_a_whole_trainer() -> None:
    """Wherever it lands, the trainer is where a run of as many steps is."""
    env = ENVIRONMENTS["interior"]()
    run = make(env, "fused", 0, 1, log_every=10**9)
    run.run(10)
    with control_c():
        run.run(10**9)
    again = make(env, "fused", 0, 1, log_every=10**9)
    again.run(run.t)
    assert_same_bits(run, again)


def test_divergence_is_seen_at_the_same_step() -> None:
    """Of the critic in the inner loop; of the actor at the end of the episode."""
    env = ENVIRONMENTS["tables"]()
    critics, actors = [], []
    for engine in ("fused", "autograd"):
        run = make(env, engine, 1)
        run.alpha = Constant(1e200)
        with pytest.raises(DivergedError) as error:
            run.run(50)
        critics.append((error.value.step, error.value.replicas))
        run = make(env, engine, 1)
        run.policy.theta.data[1] = torch.nan
        with pytest.raises(DivergedError) as error:
            run.run(50)
        actors.append((error.value.step, error.value.replicas))
    assert critics[0] == critics[1]
    assert actors == [(HORIZON - 1, [1])] * 2
