"""Every bad input of the exact side is refused with a `ConfigError` of one sentence that names what is wrong."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from marl.core.environment import Environment, FiniteEnvironment
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.core.policy import Policy
from marl.envs import Coloring, LocalMDP, WirelessAccess, random_local_mdp
from marl.exact import (
    AverageValues,
    Chain,
    DiscountedValues,
    ExactMonitor,
    JointPairs,
    LocalLaws,
    Values,
    approximate_gradient,
    certificate,
    coupling_certificate,
    critic_error,
    critic_fixed_point,
    decay_curve,
    discounted_pairs,
    ergodicity,
    gradient,
    gradient_by_autograd,
    neighborhood_certificate,
    sampled_decay,
    stationary,
    survey,
    truncated_q,
    worst_decay,
)
from marl.policies import NeighborhoodSoftmax, RandomTable, TabularSoftmax, Uniform

ZEROS = torch.zeros(2, 3, dtype=torch.int64)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks of the test session: what a user sees who gives a wrong type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Sampled(FiniteEnvironment):
    """Can be sampled and states no law."""

    def __init__(self) -> None:
        super().__init__(
            Network.line(2),
            num_states=torch.tensor([2, 2]),
            num_actions=torch.tensor([1, 1]),
            action_mask=torch.ones(2, 2, 1, dtype=torch.bool),
            num_uniforms=1,
            reward_range=(0.0, 1.0),
            private_actions=True,
            private_rewards=True,
        )

    def _reset(self, u: Tensor) -> Tensor:
        return torch.zeros(u.shape[:2], dtype=torch.int64)

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return s, s.double()


@cache
def line() -> Chain:
    """Three agents, 2 states and 3 actions each: |Z| = 216."""
    env = random_local_mdp("line:3")
    return Chain(env, RandomTable(env))


def average() -> AverageValues:
    return AverageValues(line())


def some(agents: list[int]) -> DiscountedValues:
    return DiscountedValues(line(), 0.9, agents=agents)


def elsewhere() -> AverageValues:
    """Of the same environment under another policy."""
    return AverageValues(uniform(line().env))


def discounted() -> JointPairs:
    return discounted_pairs(line(), 0.9)


def uniform(env: Environment, method: str = "auto") -> Chain:
    return Chain(env, Uniform(env), method=method)


def joint() -> JointPairs:
    return JointPairs(line())


def frozen(method: str) -> Chain:
    """Identity tables: nobody ever moves."""
    env = LocalMDP(Network.line(2), [np.eye(2)[:, None, None].repeat(2, 1), np.eye(2)[None, :, None].repeat(2, 0)], REWARDS)
    return Chain(env, TabularSoftmax(env), method=method)


def obedient(method: str) -> Chain:
    """s_i' = a_i, and a policy so sharp that a_i = s_i: two agents, four absorbing states, by the policy alone."""
    law = np.broadcast_to(np.eye(2), (2, 2, 2, 2))
    env = LocalMDP(Network.line(2), [law, law], [np.zeros((2, 2))] * 2)
    policy = TabularSoftmax(env)
    with torch.no_grad():
        policy.theta.copy_(1e4 * torch.eye(2))
    return Chain(env, policy, method=method)


REWARDS = [np.array([[0.0], [1.0]])] * 2


def never_idle() -> Chain:
    """Nobody returns to state 0."""
    law = np.zeros((2, 2, 1, 2))
    law[..., 1] = 1.0
    env = LocalMDP(Network.line(2), [law, law], REWARDS)
    return Chain(env, Uniform(env))


def crowded() -> object:
    """The law of agent 1 can be listed (2^15 joint pairs), that of two copies cannot (2^30)."""
    env = random_local_mdp("line:3", [2, 2, 2], [16, 16, 16], private_actions=False)
    return coupling_certificate(LocalLaws(env), uniform(env).tables)


def looking_around(graph: str | Network, states: int = 2, kappa: int = 1) -> Chain:
    env = random_local_mdp(graph, states)
    return Chain(env, NeighborhoodSoftmax(env, kappa=kappa))


class SeesAll(TabularSoftmax):
    """Says that it sees all states."""

    hops = None


class Unclear(TabularSoftmax):
    """Says that it looks further, and not how far."""

    localized = False


def unclear() -> Chain:
    env = random_local_mdp("line:3")
    return Chain(env, Unclear(env))


def seeing_all(graph: str | Network) -> Chain:
    env = random_local_mdp(graph)
    return Chain(env, SeesAll(env))


def looking_far() -> object:
    """N_0^1 has few pairs, and its policy sees 2^13 joint states."""
    env = random_local_mdp("line:13", 2, 1)
    return critic_fixed_point(Chain(env, NeighborhoodSoftmax(env, kappa=12), method="free", memory=40.0), 0, 0)


def several_steps(chain: Chain) -> object:
    return coupling_certificate(chain.laws, chain.tables)


def around(policy: Policy | None = None, **options: Any) -> object:
    chain = looking_around("line:3")
    return neighborhood_certificate(chain.laws, policy or chain.policy, **options)


NO_STATIONARY_LAW = ["DiscountedValues have no stationary law", "critic_error takes its means", "use JointPairs(chain)"]
BOTH_SETTINGS = ["use AverageValues(chain)", "DiscountedValues(chain, gamma)"]
Refused = tuple[str, Callable[[], object], list[str]]

REFUSED: list[Refused] = [
    ("no law: LocalLaws", lambda: LocalLaws(Sampled()), ["states its law", "Sampled"]),
    ("no law: Chain", lambda: uniform(Sampled()), ["states its law", "Sampled"]),
    ("no law: survey", lambda: survey(Sampled(), Uniform(Sampled())), ["states its law", "Sampled"]),
    ("no law: ExactMonitor", lambda: ExactMonitor(Sampled(), Uniform(Sampled()), None, []), ["states its law", "Sampled"]),
    ("Values itself", lambda: Values(line()), BOTH_SETTINGS),
    ("Values as before", lambda: Values(line(), [0], tolerance=1e-12), BOTH_SETTINGS),
    ("values of another chain", lambda: JointPairs(line(), elsewhere()), ["same chain", "another chain"]),
    ("values of some agents", lambda: JointPairs(line(), some([1])), ["agents 0 to 2", "agents [1] of this chain"]),
    ("values in another order", lambda: JointPairs(line(), some([1, 0, 2])), ["agents [1, 0, 2] of this chain"]),
    ("critic_error, discounted", lambda: critic_error(discounted(), 0, 0, torch.zeros(6)), NO_STATIONARY_LAW),
    ("stationary, discounted", lambda: discounted().stationary, NO_STATIONARY_LAW),
    ("looks far: Chain", lambda: looking_around("line:9", 8, 4), ["within 4 hops", "5.18e+08", "3.86 GiB", "1.68e+07"]),
    ("looks everywhere: Chain", lambda: seeing_all("line:30"), ["SeesAll sees all states", "GiB"]),
    ("looks who knows where", unclear, ["Unclear is not localized", "set hops = k"]),
    ("looks across parts", lambda: seeing_all(Network.from_edges(3, [(0, 1)])), ["(hops=None)", "2 parts"]),
    ("looks around: several steps", lambda: several_steps(looking_around("line:3")), ["D^(T)", "neighborhood_certificate"]),
    ("looks far: critic_fixed_point", looking_far, ["sees 8192 joint states", "4096"]),
    ("gamma of neighborhood_certificate", lambda: around(gamma=1.5), ["gamma", "1.5"]),
    ("agent of neighborhood_certificate", lambda: around(agents=[3]), ["there is no agent 3"]),
    ("replica of neighborhood_certificate", lambda: around(replica=2), ["replica 2"]),
    ("another environment's policy", lambda: around(NeighborhoodSoftmax(random_local_mdp("line:4"))), ["4 agents"]),
    ("agent of AverageValues", lambda: AverageValues(line(), [0, 3]), ["there is no agent 3", "0 to 2"]),
    ("negative agent of AverageValues", lambda: AverageValues(line(), [-1]), ["there is no agent -1"]),
    ("agent of certificate", lambda: certificate(line().laws, [5]), ["there is no agent 5"]),
    ("agent of coupling", lambda: coupling_certificate(line().laws, line().tables, [5]), ["there is no agent 5"]),
    ("agent of decay_curve", lambda: decay_curve(average(), 3, ZEROS, ZEROS), ["there is no agent 3"]),
    ("agent of sampled_decay", lambda: sampled_decay(average(), 3, 1), ["there is no agent 3"]),
    ("agent of worst_decay", lambda: worst_decay(joint(), 3), ["there is no agent 3"]),
    ("agent of critic_fixed_point", lambda: critic_fixed_point(line(), -1, 0), ["there is no agent -1"]),
    ("replica", lambda: Chain(line().env, RandomTable(line().env, replicas=2), replica=2), ["replica 2", "policy's 2"]),
    ("negative replica", lambda: Chain(line().env, RandomTable(line().env), replica=-1), ["replica", "got -1"]),
    ("method", lambda: uniform(line().env, "sparse"), ["method must be one of auto, dense, free", "'sparse'"]),
    ("form", lambda: certificate(line().laws, form="q"), ["form must be one of paper, z", "'q'"]),
    ("joint state: auto", lambda: uniform(random_local_mdp("line:40")), ["1.1e+12 joint states", "GiB", "4 GiB allowed"]),
    ("joint state: free", lambda: uniform(random_local_mdp("line:40"), "free"), ["1.1e+12 joint states", "GiB"]),
    ("memory", lambda: Chain(line().env, RandomTable(line().env), method="free", memory=1e-9), ["8 joint states", "1e-09"]),
    ("joint state: dense", lambda: uniform(random_local_mdp("line:13"), "dense"), ["8192", "0.5 GiB", "4096"]),
    ("matrix of a free chain", lambda: uniform(random_local_mdp("line:13"), "free").matrix, ["8192", "0.5 GiB"]),
    ("autograd", lambda: gradient_by_autograd(uniform(random_local_mdp("line:13"))), ["8192", "4096"]),
    ("agents of a matrix", lambda: uniform(random_local_mdp("line:18", 1), "dense").matrix, ["at most 17 agents", "18"]),
    ("ergodicity", lambda: ergodicity(uniform(random_local_mdp("line:11"))), ["1024 joint states", "2048"]),
    ("joint pairs", lambda: JointPairs(uniform(random_local_mdp("line:9"))), ["1.01e+07 joint pairs", "4.19e+06"]),
    ("neighborhood law", lambda: LocalLaws(WirelessAccess(access_points="corners")), ["agent 6 and its 8 neighbors"]),
    ("coupling", lambda: crowded(), ["two copies of agent 1", "1.07e+09 joint pairs", "shorter horizon"]),
    ("coupling of a tight memory", lambda: couple(2, 1e-6), ["two copies of agent 0"]),
    ("couplings over time", lambda: long_line(), ["joint states need", "0.01 GiB allowed"]),
    ("policies of a few agents", lambda: coupling_certificate(line().laws, line().tables[:2]), ["2"]),
    ("misshapen policies", lambda: coupling_certificate(line().laws, [t[:1] for t in line().tables]), ["agent 0"]),
    ("no steps", lambda: coupling_certificate(line().laws, line().tables, horizon=0), ["horizon", "at least 1, got 0"]),
    ("half a step", lambda: coupling_certificate(line().laws, line().tables, horizon=1.5), ["horizon", "1.5"]),
    ("Theorem 1, shared actions", lambda: certificate(shared(), form="paper"), ["Theorem 1 does not apply", "form=z"]),
    ("gamma above one", lambda: certificate(line().laws, gamma=1.1), ["gamma", "[0, 1]", "1.1"]),
    ("gamma below zero", lambda: certificate(line().laws, gamma=-0.1), ["gamma", "-0.1"]),
    ("gamma NaN", lambda: certificate(line().laws, gamma=float("nan")), ["gamma", "nan"]),
    ("kappa of truncated_q", lambda: truncated_q(joint(), -1), ["kappa", "at least 0, got -1"]),
    ("kappa of approximate_gradient", lambda: approximate_gradient(joint(), 0.5), ["kappa", "0.5"]),
    ("kappa of critic_fixed_point", lambda: critic_fixed_point(line(), 0, -1), ["kappa", "-1"]),
    ("negative weights", lambda: truncated_q(joint(), 0, -torch.ones(216)), ["weights must be finite and not negative"]),
    (
        "NaN weights",
        lambda: truncated_q(joint(), 0, torch.full((216,), torch.nan)),
        ["weights must be finite and not negative"],
    ),
    ("misshapen weights", lambda: truncated_q(joint(), 0, torch.ones(215)), ["[216]", "[3, 216]", "[215]"]),
    ("weights of too few agents", lambda: approximate_gradient(joint(), 0, torch.ones(2, 216)), ["[3, 216]", "[2, 216]"]),
    ("dummy", lambda: critic_fixed_point(line(), 1, 1, 6), ["dummy [6, 6, 6]", "N_1^1", "[6, 6, 6] pairs"]),
    ("negative dummy", lambda: critic_fixed_point(line(), 0, 0, -1), ["dummy", "got -1"]),
    ("dummy that never occurs", lambda: critic_fixed_point(never_idle(), 0, 1, 0), ["dummy pair 0 of N_0^1 never occurs"]),
    ("pairs of a neighborhood", lambda: critic_fixed_point(wide(), 1, 1), ["agent 1", "4.67e+04", "N_1^1", "4096"]),
    ("replica 0.5", lambda: Chain(line().env, RandomTable(line().env), replica=0.5), ["replica"]),
    ("agent 1.0", lambda: AverageValues(line(), [1.0]), ["agent 1.0"]),
    ("memory NaN", lambda: Chain(line().env, RandomTable(line().env), method="free", memory=float("nan")), ["memory"]),
    ("an agent that was not solved for", lambda: decay_curve(AverageValues(line(), [0]), 1, ZEROS, ZEROS), ["agent 1"]),
    ("misshapen s in decay_curve", lambda: decay_curve(average(), 0, ZEROS[:, :2], ZEROS[:, :2]), ["3 agents"]),
    ("no samples", lambda: sampled_decay(average(), 0, 0), ["samples"]),
    ("no agents", lambda: certificate(line().laws, []), ["agent"]),
    ("negative kappas", lambda: certificate(line().laws, gamma=0.5, kappas=-1), ["kappas"]),
    ("infinite weights", lambda: truncated_q(joint(), 0, torch.full((216,), torch.inf)), ["weights"]),
    ("dummy 1.5", lambda: critic_fixed_point(line(), 0, 0, 1.5), ["dummy"]),
    (
        "illegal action",
        lambda: average().q(ZEROS, ZEROS + 3),
        ["agent 0 cannot be in state 0 and take action 3"],
    ),
    (
        "illegal state",
        lambda: average().q(ZEROS - 1, ZEROS),
        ["agent 0 cannot be in state -1 and take action 0"],
    ),
    ("illegal pair", lambda: idle_sender(), ["agent 2 cannot be in state 0 and take action 1"]),
    (
        "illegal in decay_curve",
        lambda: decay_curve(average(), 0, ZEROS + 2, ZEROS),
        ["agent 0 cannot be in state 2"],
    ),
    ("misshapen s", lambda: average().q(ZEROS[:, :2], ZEROS[:, :2]), ["each of 3 agents", "[2, 2]"]),
    (
        "s and a of different shapes",
        lambda: average().q(ZEROS, ZEROS[:1]),
        ["each of 3 agents", "[2, 3], [1, 3]"],
    ),
    *[
        (f"{what} of a {method} {make.__name__} chain", lambda f=f, make=make, method=method: f(make(method)), SEVERAL)
        for make in (frozen, obedient)
        for method in ("dense", "free")
        for what, f in {
            "values": AverageValues,
            "stationary law": stationary,
            "gradient": gradient,
            "autograd": gradient_by_autograd,
            "ergodicity": ergodicity,
            "fixed point": lambda chain: critic_fixed_point(chain, 0, 0),
        }.items()
        for SEVERAL in [["more than one recurrent class", "from joint state (", "it never reaches ("]]
    ],
]


def couple(horizon: int, memory: float) -> object:
    return coupling_certificate(line().laws, line().tables, horizon=horizon, memory=memory)


def long_line() -> object:
    """Three steps back, two copies of seven agents are 4^7 joint states."""
    env = random_local_mdp("line:9")
    return coupling_certificate(LocalLaws(env), uniform(env).tables, horizon=5, memory=0.01)


def shared() -> LocalLaws:
    return LocalLaws(random_local_mdp("line:2", private_actions=False))


def wide() -> Chain:
    env = random_local_mdp("line:3", num_actions=[18, 18, 18])
    return uniform(env)


def idle_sender() -> object:
    """An empty queue has nothing to send."""
    env = WirelessAccess(rows=2, cols=2, access_points="interior", deadline=1)
    return AverageValues(uniform(env)).q(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[0, 0, 1, 0]]))


@pytest.mark.parametrize(("call", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(call: Callable[[], object], words: list[str]) -> None:
    """... in one line, naming the offender, within five seconds."""
    began = time.perf_counter()
    with pytest.raises(ConfigError) as refusal:
        call()
    message = str(refusal.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message
    assert ". " not in message
    assert not message.endswith(".")
    assert time.perf_counter() - began < 5.0


def test_a_large_joint_state_is_refused_before_anything_is_allocated() -> None:
    """2^40 joint states would be 8 TiB: the refusal takes less than a second and next to no memory."""
    import resource

    env = random_local_mdp("line:40")
    policy = RandomTable(env)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for method in ("auto", "free", "dense"):
        with pytest.raises(ConfigError, match="joint states"):
            Chain(env, policy, method=method)
    assert time.perf_counter() - began < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_what_is_on_the_edge_is_not_refused() -> None:
    """One below each limit that is cheap to reach, so that the refusals above are those of the limits."""
    assert uniform(random_local_mdp("line:12"), "dense").method == "dense"
    assert uniform(random_local_mdp("line:17", 1), "dense").matrix.shape == (1, 1)
    assert JointPairs(uniform(random_local_mdp("line:8"))).num_pairs == 6**8
    assert certificate(line().laws, gamma=0.0).certified
    assert certificate(line().laws, gamma=1.0).bounds is None
    assert truncated_q(joint(), 10**6).shape == (216, 3)
    assert truncated_q(joint(), 0, torch.zeros(216)).isfinite().all()
    assert certificate(LocalLaws(Coloring("line:3", 2))).reason.endswith("no next state in common")
