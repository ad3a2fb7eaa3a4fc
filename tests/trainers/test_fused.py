"""The compiled engine against the autograd engine on the same noise: the same run up to rounding."""

import functools
import gc
import itertools
import random
import subprocess
import sys
import weakref
from typing import Any

import pytest
import torch

from marl.core.environment import Environment
from marl.core.errors import ConfigError, DivergedError
from marl.critics import NeuralCritic, TabularCritic
from marl.envs import Coloring, WirelessAccess, random_local_mdp
from marl.policies import NeuralPolicy, TabularSoftmax
from marl.schedulers import Constant, PowerLaw
from marl.trainers import ScalableActorCritic
from tests.critics.experience import table_of

ENVIRONMENTS = {
    "interior": lambda: WirelessAccess(rows=3, cols=3),
    "corners": lambda: WirelessAccess(rows=2, cols=3, access_points="corners", deadline=[1, 2, 3, 1, 2, 2]),
    "any-slot": lambda: WirelessAccess(rows=2, cols=3, action_set="any_slot", users_per_cell=2),
    "coloring": lambda: Coloring("grid:3x3"),
    "tables": lambda: random_local_mdp("line:5", [2, 3, 2, 1, 3], [2, 1, 3, 2, 2], private_actions=False, reward_low=-1.0),
}
EXTRAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dummy": {"dummy": 0},
    "gamma": {"rescale": True},
    "hash": {"storage": "hash"},
}
EXTRAS["all"] = {"dummy": 0, "rescale": True, "storage": "hash", "centering": 0.5}


def trainer(env: Environment, engine: str, kappa: int, replicas: int = 2, **extra: Any) -> ScalableActorCritic:
    table = {key: extra[key] for key in ("dummy", "storage") if key in extra}
    return ScalableActorCritic(
        env,
        TabularSoftmax(env, replicas=replicas, dtype=extra.get("dtype", torch.float64)),
        TabularCritic(env, kappa=kappa, replicas=replicas, dtype=extra.get("dtype", torch.float64), **table),
        critic_scheduler=PowerLaw(0.5, 0.55),
        actor_scheduler=Constant(2.0),
        rescale=extra.get("rescale", False),
        discount=extra.get("discount", 1.0),
        centering=extra.get("centering"),
        engine=engine,
    )


def assert_equal(one: ScalableActorCritic, other: ScalableActorCritic) -> None:
    """State exactly; theta, mu, the whole table and the sums to 1e-9."""
    assert torch.equal(one.s, other.s)
    assert torch.equal(one.a, other.a)
    assert one.t == other.t
    means = zip(one.critic.objective.buffers(), other.critic.objective.buffers(), strict=True)
    for x, y in ((one.policy.theta, other.policy.theta), *means):
        assert torch.allclose(x, y, rtol=0.0, atol=1e-9)
    for b in range(one.replicas):
        tables = [table_of(run.critic, b) for run in (one, other)]
        assert tables[0].keys() == tables[1].keys()
        assert max(abs(tables[0][key] - tables[1][key]) for key in tables[0]) < 1e-9
    sums, others = vars(one.interval), vars(other.interval)
    assert sums["steps"] == others["steps"]
    assert all(torch.allclose(sums[x].double(), others[x].double(), atol=1e-9) for x in ("reward", "loss", "finite"))


def assert_alike_in_float32(fused: Any, autograd: Any) -> None:
    """After 100 steps of both: the same states, and theta to the precision of float32."""
    for run in (fused, autograd):
        run.run(100)
        means = [mu.dtype for mu in run.critic.objective.buffers()]
        assert {run.policy.theta.dtype, run.critic.table.values.dtype, *means} == {torch.float32}
    assert torch.equal(fused.s, autograd.s)
    assert torch.allclose(fused.policy.theta, autograd.policy.theta, atol=1e-4)


def assert_they_grow_together(whole: Any, pieces: Any) -> None:
    """Over 12,000 steps, those of `pieces` cut at random: hash tables have the same widths every 500 steps, and grow."""
    cuts = random.Random(5)
    widths = []
    for stop in range(500, 12_001, 500):
        whole.run(500)
        while pieces.t < stop:
            pieces.run(min(stop - pieces.t, cuts.choice((1, 10, 100, 500))))
        widths.append((tuple(whole.critic.table.storage.width), tuple(pieces.critic.table.storage.width)))
    assert all(one == other for one, other in widths)
    assert len(set(widths)) > 2


def is_hashed(name: str, kappa: int) -> bool:
    """Without being asked to: tables of more than 2^22 entries are."""
    return kappa > 0 and name != "tables"


@pytest.mark.parametrize(
    ("name", "kappa", "extra"),
    [case for case in itertools.product(ENVIRONMENTS, [0, 1, 2], EXTRAS) if case[2] != "hash" or not is_hashed(*case[:2])],
)
def test_both_engines_give_the_same_run(name: str, kappa: int, extra: str) -> None:
    """400 steps with nothing and with everything switched on, 200 with one thing at a time. Dense tables: see below."""
    env = ENVIRONMENTS[name]()
    fused, autograd = (trainer(env, engine, kappa, **EXTRAS[extra]) for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(400 if extra in ("plain", "all") else 200)
    assert_equal(fused, autograd)
    assert fused.critic.table.grows == (is_hashed(name, kappa) or EXTRAS[extra].get("storage") == "hash")


def test_engines_take_over_from_each_other() -> None:
    env = ENVIRONMENTS["tables"]()
    mixed, autograd = trainer(env, "fused", 1, rescale=True), trainer(env, "autograd", 1, rescale=True)
    mixed.run(100)
    other = trainer(env, "autograd", 1, rescale=True)
    other.load_state_dict(mixed.state_dict())
    other.run(100)
    autograd.run(200)
    assert_equal(other, autograd)


def test_what_cannot_be_compiled_is_refused_with_the_reason() -> None:
    env = WirelessAccess(rows=2, cols=2)
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    with pytest.raises(ConfigError, match="NeuralCritic has no compiled form"):
        ScalableActorCritic(env, TabularSoftmax(env), NeuralCritic(env), engine="fused", **sizes)
    with pytest.raises(ConfigError, match="NeuralPolicy has no compiled form"):
        ScalableActorCritic(env, NeuralPolicy(env), TabularCritic(env), engine="fused", **sizes)
    momentum = functools.partial(torch.optim.SGD, momentum=0.9)
    for optimizer, reason in ((torch.optim.Adam, "Adam is not plain"), (momentum, "SGD with options is not plain")):
        special = {**sizes, "actor_optimizer": optimizer}
        with pytest.raises(ConfigError, match=f"{reason} SGD"):
            ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env), engine="fused", **special)


def test_auto_is_compiled_where_possible_and_says_why_not(caplog: pytest.LogCaptureFixture) -> None:
    env = WirelessAccess(rows=2, cols=2)
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    caplog.set_level("INFO")
    assert ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env), **sizes).engine == "fused"
    assert ScalableActorCritic(env, TabularSoftmax(env), NeuralCritic(env), **sizes).engine == "autograd"
    assert caplog.messages == ["engine: fused", "engine: autograd, because NeuralCritic has no compiled form"]


def test_a_subclass_that_changes_a_method_is_not_compiled_behind_its_back() -> None:
    class Cold(TabularSoftmax):
        def _logits(self, s):
            return 2.0 * super()._logits(s)

    class Clipped(TabularCritic):
        def loss(self, q, step):
            return super().loss(q, step).clamp(max=1.0)

    class Late(WirelessAccess):
        def _step(self, s, a, u):
            return super()._step(s, a, u)

    class Silent(TabularSoftmax):
        """Changes nothing, and does not say so."""

    class Renamed(TabularSoftmax):
        fused = TabularSoftmax.fused

    class Other(ScalableActorCritic):
        def _step(self):
            super()._step()

    class Careful(ScalableActorCritic):
        def _differentiate(self, loss):
            super()._differentiate(loss)
            torch.nn.utils.clip_grad_norm_([self.policy.theta], 1e-3)

    class Chatty(ScalableActorCritic):
        fused = ScalableActorCritic.fused

        def _metrics(self):
            return super()._metrics()

    class Rising(PowerLaw):
        def _value(self, t):
            return 0.001 * t

    class Halved(Rising):
        def __call__(self, t):
            return 0.5 * super().__call__(t)

    class Doubled(PowerLaw):
        def __call__(self, t):
            return 2.0 * super().__call__(t)

    env = WirelessAccess(rows=2, cols=2)
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Rising(1.0, 0.5)}

    def engine(
        made: type = ScalableActorCritic, policy: type = TabularSoftmax, critic: type = TabularCritic, env=env
    ) -> str:
        return made(env, policy(env), critic(env), **sizes).engine

    assert engine() == engine(policy=Renamed) == engine(made=Chatty) == "fused"
    assert engine(policy=Silent) == "autograd"
    assert {engine(policy=Cold), engine(critic=Clipped), engine(env=Late(rows=2, cols=2))} == {"autograd"}
    assert engine(made=Other) == engine(made=Careful) == "autograd"
    with pytest.raises(ConfigError, match="Cold does not say whether the compiled form of TabularSoftmax is its own, too"):
        ScalableActorCritic(env, Cold(env), TabularCritic(env), engine="fused", **sizes)
    assert sizes["actor_scheduler"].values(5, 3).tolist() == [0.005, 0.006, 0.007]
    assert Halved(1.0, 0.5).values(6, 2).tolist() == [0.003, 0.0035]
    assert Doubled(1.0, 0.5).values(3, 1).tolist() == [1.0]


def test_step_sizes_of_a_wrong_length_are_refused() -> None:
    class Short(Constant):
        def values(self, first, steps):
            return super().values(first, steps)[1:]

    run = trainer(ENVIRONMENTS["interior"](), "fused", 0)
    run.eta = Short(1.0)
    with pytest.raises(ConfigError, match=r"Short.values was asked for 3 step sizes and gave an array of shape \[2\]"):
        run.run(3)


def test_torch_keeps_its_threads() -> None:
    """In a process of its own: the first compiled loop starts the threads. Two of them make small tensors slow."""
    program = """
import torch
torch.set_num_threads(1)
from marl import Constant, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
env = WirelessAccess(rows=2, cols=3)
parts = env, TabularSoftmax(env, replicas=4), TabularCritic(env, replicas=4, storage="hash")
trainer = ScalableActorCritic(*parts, critic_scheduler=Constant(0.1), actor_scheduler=Constant(1.0), rescale=True)
trainer.memory_ahead(100)
assert trainer.engine == "fused"
told = [torch.get_num_threads()]
trainer.run(3)
trainer.evaluate(20)
print(*told, torch.get_num_threads())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "1 1\n"


def test_a_trainer_that_is_let_go_is_gone() -> None:
    """Tables are large: they must not wait for the garbage collector."""
    run = trainer(ENVIRONMENTS["interior"](), "fused", 1)
    run.run(10)
    critic = weakref.ref(run.critic)
    gc.disable()
    try:
        del run
        assert critic() is None
    finally:
        gc.enable()


def test_divergence_is_seen_at_the_same_step() -> None:
    env = ENVIRONMENTS["tables"]()
    steps = []
    for engine in ("fused", "autograd"):
        run = trainer(env, engine, 1)
        run.alpha = Constant(1e200)
        with pytest.raises(DivergedError) as error:
            run.run(50)
        steps.append((error.value.step, error.value.replicas))
    assert steps[0] == steps[1]
