"""What is watched is what an evaluation sees."""

from typing import Any

import numpy as np
import pytest
import torch

from marl import Aloha, Coloring, ConfigError, NeighborhoodSoftmax, Network, Uniform, WirelessAccess, evaluate
from marl.core.noise import Noise, Purpose
from marl.trainers.rollout import Collector
from marl.watching import record, scene_of


@pytest.mark.parametrize("replica", [0, 2])
def test_the_rewards_are_those_of_an_evaluation(small: WirelessAccess, replica: int) -> None:
    policy = Aloha(small, send_probability=[0.2, 0.5, 0.9], replicas=3)
    recording = record(small, policy, steps=60, seed=5, replica=replica)
    measured = evaluate(small, policy, steps=60, burn_in=0, seed=5)
    np.testing.assert_allclose(recording.r.mean(axis=0), measured.agent_reward[replica].numpy(), rtol=1e-12)
    alone = record(small, Aloha(small, send_probability=[0.2, 0.5, 0.9][replica]), steps=60, seed=5 + replica)
    for one, other in zip(recording, alone, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("longest", [1, 7, 4096])
def test_the_steps_are_those_of_a_plain_loop(small: WirelessAccess, monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    """However the rollout is cut."""
    policy = NeighborhoodSoftmax(small)
    begin = Collector.__init__

    def cut(self: Collector, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        self.longest = longest

    monkeypatch.setattr(Collector, "__init__", cut)
    recording = record(small, policy, steps=20, seed=3)
    noise = Noise(3, 1, small.n, small.num_uniforms + 1, Purpose.EVALUATION)
    s = small.reset(noise(0)[..., :-1])
    a = policy.sample(s, noise(0)[..., -1])
    assert recording.s.shape == recording.a.shape == recording.r.shape == (20, small.n)
    for t in range(20):
        np.testing.assert_array_equal(recording.s[t], s[0].numpy())
        np.testing.assert_array_equal(recording.a[t], a[0].numpy())
        s, r = small.step(s, a, noise(t + 1)[..., :-1])
        np.testing.assert_allclose(recording.r[t], r[0].numpy(), rtol=1e-12)
        a = policy.sample(s, noise(t + 1)[..., -1])


@pytest.mark.parametrize(
    ("graph", "given", "said"),
    [
        ("ring:4", {"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ("ring:4", {"steps": 5, "replica": 2}, "replica=2 does not exist: the policy has replicas 0 to 1"),
        ("ring:4", {"steps": 5, "replica": -1}, "replica must be a whole number of at least 0, got -1"),
        ("ring:5001", {"steps": 5}, "5001 agents are too many to watch; at most 5000 can be shown"),
        ("ring:4", {"steps": 524289}, "steps=524289 of 4 agents are too many to watch; at most 524288 can be shown"),
    ],
)
def test_what_cannot_be_watched_is_refused(graph: str, given: dict[str, int], said: str) -> None:
    env = Coloring(graph)
    with pytest.raises(ConfigError) as refused:
        record(env, Uniform(env, replicas=2), **given)
    assert str(refused.value) == said


def test_a_policy_of_another_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="was made for"):
        record(Coloring("ring:4"), Uniform(Coloring("ring:5")), steps=3)


def test_names_of_agents_states_and_actions() -> None:
    env = Coloring(Network.from_networkx(labelled({0: "Mr  Hi\n", 1: "x" * 100})), 2)
    made = scene_of(env, record(env, Uniform(env), steps=50), "a\ntitle")
    assert made.title == "a title"
    assert made.agents == ["agent 0, Mr Hi", f"agent 1, {'x' * 77}...", "agent 2, 2"]
    assert made.states == ["color 0, clash", "color 0, alone", "color 1, clash", "color 1, alone"]
    assert made.actions == ["takes color 0", "takes color 1"]
    assert made.action_names == [{0: "takes color 0", 1: "takes color 1"}] * 3
    assert scene_of(Coloring("ring:3"), record(Coloring("ring:3"), Uniform(Coloring("ring:3")), steps=1), "").agents == [
        f"agent {i}" for i in range(3)
    ]


def labelled(names: dict[int, str]):  # type: ignore[no-untyped-def]
    import networkx as nx

    return nx.relabel_nodes(nx.path_graph(3), names)


def test_names_that_agents_do_not_share_are_numbers_in_the_legend() -> None:
    env = WirelessAccess(rows=2, cols=3, deadline=[1, 2, 2, 1, 1, 1])
    made = scene_of(env, record(env, Uniform(env), steps=30), "")
    assert made.states == ["no packet", "packets due in 1", "packets due in 2", "packets due in 1, 2"]
    assert made.actions == ["silent", "action 1", "sends to point 1"]
    assert made.action_names[0] == {0: "silent", 1: "sends to point 0"}
    assert env.action_name(4, 2) == "sends to point 1"
    assert [env.state_name(1, s) for s in range(4)] == made.states
    slots = WirelessAccess(rows=2, cols=3, action_set="any_slot")
    assert [slots.action_name(1, a) for a in (0, 1, 4)] == ["silent", "sends slot 1 to point 0", "sends slot 2 to point 1"]


def test_many_states_and_actions_have_no_legend() -> None:
    env = Coloring("ring:4", colors=11)
    made = scene_of(env, record(env, Uniform(env), steps=2), "")
    assert (made.states, made.actions) == ([], [])
    assert torch.equal(env.num_actions, torch.full((4,), 11))


@pytest.mark.parametrize("positions", [np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_positions_that_are_none_are_refused(positions: np.ndarray) -> None:
    env = Coloring("ring:4")
    recording = record(env, Uniform(env), steps=2)
    env.positions = positions  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"Coloring.positions must be 4 pairs of finite numbers"):
        scene_of(env, recording, "")
