"""The epidemic with import: its law against plain loops, exact values on a ring of six, limiting cases, both engines."""

import itertools
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.critics import TabularCritic
from marl.envs import Epidemic
from marl.policies import TabularSoftmax, Uniform
from marl.schedulers import Constant, PowerLaw
from marl.testing import check_environment, check_fused_step, random_inputs
from marl.trainers import ScalableActorCritic
from tests.envs.joint import average_reward, joint_states
from tests.trainers.test_fused import assert_equal

HUB = Network.from_edges(7, [(3, j) for j in (0, 1, 2, 4, 5)])
"""Agent 6 has no neighbors."""
PARTS = Network.from_edges(7, [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (5, 6), (3, 6), (4, 6)])
OWN: dict[str, Any] = {  # one value per agent
    "infection": [0.6, 0.2, 0.9, 0.5, 0.0, 1.0, 0.4],
    "recovery": [0.3, 0.0, 1.0, 0.5, 0.1, 0.7, 0.2],
    "import_rate": [0.01, 0.0, 0.1, 0.3, 1.0, 0.05, 0.02],
    "leak": [0.0, 0.2, 1.0, 0.3, 0.5, 0.1, 0.4],
    "cost": [0.2, 0.0, 0.1, 2.0, 0.3, 0.4, 0.5],
}
WANING = [0.1, 0.9, 0.0, 1.0, 0.3, 0.2, 0.5]
CASES: dict[str, dict[str, Any]] = {
    "ring": {},
    "hub": {"graph": HUB, **OWN},
    "weighted hub": {"graph": HUB, **OWN, "weights": [1.0, 0.5, 0.0, 2.0, 0.7], "infection": 0.5, "waning": WANING},
    "two parts": {"graph": PARTS, **OWN, "waning": 0.25},
    "mutual": {"graph": PARTS, **OWN, "mutual": True},
    "mutual, weighted": {"graph": PARTS, **OWN, "mutual": True, "weights": [k / 8 for k in range(1, 9)], "waning": WANING},
    "certain": {"graph": "line:4", "infection": 1.0, "leak": 1.0, "import_rate": 0.0, "recovery": 1.0},
    "no edges": {"graph": Network.from_edges(2, []), "waning": 0.5},
    "one agent": {"graph": "line:1", "mutual": True},
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CASES[request.param]


def law_of(case: dict[str, Any], env: Epidemic, s: list[int], a: list[int], i: int) -> tuple[list[float], float]:
    """P_i(. | s, a) and r_i in plain loops, from the arguments."""

    def of(name: str, default: float, k: int) -> float:
        value = case.get(name, default)
        return value[k] if isinstance(value, list) else value

    reward = -(1.0 if s[i] == 1 else 0.0) - (of("cost", 0.2, i) if a[i] == 1 else 0.0)
    law = [0.0] * (3 if "waning" in case else 2)
    if s[i] == 0:
        escaped = 1.0 - of("import_rate", 0.01, i)
        for e, (j, k) in enumerate(env.network.edges.tolist()):
            if i in (j, k) and s[j + k - i] == 1:
                other = j + k - i
                chance = of("infection", 0.6, i) * of("weights", 1.0, e)
                if a[i] == 1:
                    chance *= of("leak", 0.0, i)
                if case.get("mutual") and a[other] == 1:
                    chance *= of("leak", 0.0, other)
                escaped *= 1.0 - chance
        law[0], law[1] = escaped, 1.0 - escaped
    elif s[i] == 1:
        law[2 if "waning" in case else 0] = of("recovery", 0.3, i)
        law[1] = 1.0 - of("recovery", 0.3, i)
    else:
        law[0], law[2] = of("waning", 0.0, i), 1.0 - of("waning", 0.0, i)
    return law, reward


def test_the_law_in_plain_loops(case: dict[str, Any]) -> None:
    env = Epidemic(**case)
    s, a, _ = random_inputs(env, 60, 0)
    law, reward = env.transition(s, a), env.reward(s, a)
    for b, i in itertools.product(range(60), range(env.n)):
        expected, r = law_of(case, env, s[b].tolist(), a[b].tolist(), i)
        assert law[b, i].tolist() == pytest.approx(expected, abs=1e-14)
        assert float(reward[b, i]) == pytest.approx(r, abs=1e-14)


def test_contract(case: dict[str, Any]) -> None:
    env = Epidemic(**case)
    assert env.private_rewards
    assert env.private_actions is not (bool(case.get("mutual")) and len(env.network.edges) > 0)
    assert env.reward_range == (-1.0 - float(env.cost.max()), 0.0)
    check_environment(env, draws=2_000)


def test_both_engines_draw_the_line_at_the_same_float(case: dict[str, Any]) -> None:
    """u at the very probability to stay moves an agent on, the float below it does not; the compiled step agrees."""
    env = Epidemic(**case)
    s, a, _ = random_inputs(env, 40, 1)
    stays = env._stays(s, a)
    for moved, u in (True, stays), (False, torch.nextafter(stays, torch.tensor(-1.0, dtype=torch.float64))):
        next_s = env.step(s, a, u.unsqueeze(-1))[0]
        assert torch.equal(next_s, (s + 1) % env.num_states if moved else s)
        assert torch.equal(compiled(env, s, a, u), next_s)
    check_fused_step(env)


def compiled(env: Epidemic, s: torch.Tensor, a: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    form, next_s = env.fused(), torch.empty_like(s)
    for k in range(len(s)):
        given = (s[k].numpy(), a[k].numpy(), u[k, :, None].numpy(), next_s[k].numpy(), np.empty(env.n))
        form.step(form.ints, form.floats, np.empty(form.work, dtype=np.int64), *given)
    return next_s


@pytest.mark.parametrize("weighted", [False, True])
def test_a_hub_of_a_hundred_thousand(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    """Its product has 10^5 factors: 0 where infection is certain, else the same float in both engines."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # 10^5 weights are checked one by one
    n, draw = 100_001, np.random.default_rng(0)
    network = Network.from_edges(n, np.stack([np.zeros(n - 1, dtype=np.int64), np.arange(1, n)], axis=1))
    env = Epidemic(network, infection=5e-6, leak=0.5, weights=list(draw.random(n - 1)) if weighted else 1.0, mutual=True)
    s, a = (torch.from_numpy(draw.integers(0, 2, (2, n))) for _ in range(2))
    s[:, 0] = 0
    stays = env._stays(s, a)
    assert 0.7 < float(stays[0, 0]) < 0.97
    for u in stays, torch.nextafter(stays, torch.zeros_like(stays)):
        assert torch.equal(compiled(env, s, a, u), env.step(s, a, u.unsqueeze(-1))[0])
    sure = Epidemic(network, infection=1.0, leak=1.0)
    assert sure.transition(s, a)[:, 0].tolist() == [[0.0, 1.0]] * 2


def values_of_rules(env: Epidemic, actions: torch.Tensor) -> torch.Tensor:
    """Average rewards of policies that leave nothing to chance. Shapes: actions [P, X, n] in all joint states -> [P]."""
    states = joint_states(env)
    law = env.transition(states.expand(actions.shape), actions)
    matrix = torch.stack([law[:, :, i, states[:, i]] for i in range(env.n)]).prod(dim=0)
    balance = matrix.transpose(1, 2) - torch.eye(len(states), dtype=torch.float64)
    balance[:, -1] = 1.0
    one = torch.zeros(len(states), dtype=torch.float64)
    one[-1] = 1.0
    stationary = torch.linalg.solve(balance, one.expand(len(actions), -1))
    return (stationary * env.reward(states.expand(actions.shape), actions).mean(dim=-1)).sum(dim=-1)


def test_exact_values_on_a_ring_of_six() -> None:
    """Uniform; rules of the own state, one for all agents (4) or one each (up to rotation and reflection); the optimum."""
    env, states = Epidemic(), joint_states(Epidemic())
    assert average_reward(env, Uniform(env)) == pytest.approx(-0.3392, abs=5e-5)
    turned = {
        min(tuple(np.roll(x[::d], k)) for k in range(6) for d in (1, -1)) for x in itertools.product(range(4), repeat=6)
    }
    rules = torch.tensor(sorted(turned))  # bit s of a rule is the action in state s
    values = values_of_rules(env, rules[:, None, :] >> states & 1)
    same = (rules == rules[:, :1]).all(dim=1)
    assert rules[same][values[same].argmax()].tolist() == [1] * 6  # shield while susceptible
    assert float(values[same].max()) == pytest.approx(-0.226, abs=5e-4)
    assert rules[values.argmax()].tolist() == [0, 1] * 3  # the same, every other agent
    assert float(values.max()) == pytest.approx(-0.1609, abs=5e-5)


def test_the_best_rule_of_left_own_and_right_is_optimal_on_a_ring_of_six() -> None:
    """It shields a susceptible agent iff a neighbor is infected. The optimum is that of 64 states with 64 actions."""
    env, states = Epidemic(), joint_states(Epidemic())
    seen = 4 * states.roll(1, 1) + 2 * states + states.roll(-1, 1)
    values = values_of_rules(env, torch.arange(256)[:, None, None] >> seen & 1)
    best = [(int(values.argmax()) >> k) & 1 for k in range(8)]
    assert best == [0, 1, 0, 0, 1, 1, 0, 0]
    every = torch.tensor(list(itertools.product(range(2), repeat=6)))
    s, a = states[:, None].expand(-1, 64, -1), every.expand(64, -1, -1)
    law = env.transition(s, a)
    matrix = torch.stack([law[:, :, i, states[:, i]] for i in range(6)]).prod(dim=0)
    ahead, bias = torch.zeros(64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    for _ in range(500):
        bias = ahead - ahead[0]
        ahead = (env.reward(s, a).mean(dim=-1) + matrix @ bias).amax(dim=1)
    assert float((ahead - bias).max() - (ahead - bias).min()) < 1e-12
    assert float(ahead[0]) == pytest.approx(-0.0445, abs=5e-5)
    assert float(values.max()) == pytest.approx(float(ahead[0]), abs=1e-12)


def test_limiting_cases() -> None:
    s, a, _ = random_inputs(Epidemic(PARTS), 40, 2)
    nothing, all_ = torch.zeros_like(a), torch.ones_like(a)
    useless = Epidemic(PARTS, leak=1.0, mutual=True)
    assert torch.equal(useless.transition(s, a), useless.transition(s, nothing))
    safe = Epidemic(PARTS, infection=1.0, import_rate=0.0)
    assert (safe.transition(s, all_)[s == 0] == torch.tensor([1.0, 0.0])).all()
    sourced = Epidemic(PARTS, import_rate=1.0, waning=0.5)
    assert (sourced.transition(s, a)[s == 0] == torch.tensor([0.0, 1.0, 0.0])).all()
    ring, line = Epidemic("ring:7", weights=[1.0, 0.0, *[1.0] * 5]), Epidemic("line:7")  # edge 0 - 6 weighs nothing
    assert torch.equal(ring.transition(s, a), line.transition(s, a))
    halved, light = Epidemic(PARTS, infection=0.25), Epidemic(PARTS, infection=0.5, weights=0.5)
    assert torch.equal(halved.transition(s, a), light.transition(s, a))
    shut = Epidemic(PARTS, mutual=True)  # leak 0: the shields of all others are as good as one's own
    others = all_.clone()
    others[:, 4] = 0
    assert torch.equal(shut.transition(s, others)[:, 4], shut.transition(s, all_)[:, 4])


def test_import_alone_has_a_closed_form() -> None:
    """Without contagion an agent is infected for import / (import + recovery) of the time."""
    env = Epidemic("line:3", infection=0.0, import_rate=[0.1, 0.2, 0.3], recovery=0.4, cost=[0.0, 0.2, 0.4])
    ill = sum(x / (x + 0.4) for x in (0.1, 0.2, 0.3)) / 3
    assert average_reward(env, Uniform(env)) == pytest.approx(-ill - 0.5 * 0.2, abs=1e-12)


def test_start_is_uniform_over_states() -> None:
    u = (torch.arange(6, dtype=torch.float64) / 6).reshape(6, 1, 1).expand(6, 2, 1)
    assert Epidemic("line:2").reset(u)[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert Epidemic("line:2", waning=0.1).reset(u)[:, 1].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", ["weighted hub", "mutual"])
def test_algorithm_1_compiled_and_by_autograd(name: str) -> None:
    def run(engine: str) -> ScalableActorCritic:
        env = Epidemic(**CASES[name])
        policy, critic = TabularSoftmax(env, replicas=2), TabularCritic(env, kappa=1, replicas=2)
        steps = {"critic_scheduler": PowerLaw(0.5, 0.55), "actor_scheduler": Constant(2.0)}
        trainer = ScalableActorCritic(env, policy, critic, engine=engine, **steps)
        trainer.run(200)
        return trainer

    fused = run("fused")
    assert fused.policy.theta.abs().max() > 0.1
    assert_equal(fused, run("autograd"))


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"infection": 1.1}, r"env.infection\[0\] must be a finite number in \[0, 1\], got 1.1"),
    ({"infection": "high"}, r"env.infection\[0\] must be a finite number in \[0, 1\], got 'high'"),
    ({"recovery": -0.1}, r"env.recovery\[0\] must be a finite number in \[0, 1\], got -0.1"),
    ({"recovery": [0.3] * 5}, "env.recovery needs 6 values, one for each agent, got 5"),
    ({"import_rate": [0.0] * 5 + [2.0]}, r"env.import_rate\[5\] must be a finite number in \[0, 1\], got 2.0"),
    ({"import_rate": None}, r"env.import_rate must be a number or a list of 6, got None"),
    ({"leak": True}, r"env.leak\[0\] must be a finite number in \[0, 1\], got True"),
    ({"cost": -1}, r"env.cost\[0\] must be a finite number in \[0, inf\], got -1"),
    ({"cost": float("inf")}, r"env.cost\[0\] must be a finite number in \[0, inf\], got inf"),
    ({"weights": [1.0] * 5}, "env.weights needs 6 values, one for each edge, got 5"),
    ({"weights": -0.5}, r"env.weights\[0\] must be a finite number in \[0, inf\], got -0.5"),
    (
        {"weights": [1.0, 1.0, 1.0, 2.0, 1.0, 1.0]},
        r"env.infection\[2\] times the weight in env.weights of the edge between 2 and 3 is 1.2, but a probability is at",
    ),
    ({"mutual": "yes"}, "env.mutual must be true or false, got 'yes'"),
    ({"waning": 1.5}, r"env.waning\[0\] must be a finite number in \[0, 1\], got 1.5"),
    ({"graph": "torus:3x3"}, "env.graph='torus:3x3'"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSALS)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        Epidemic(**arguments)
