"""The rules of firefighters on states made by hand."""

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.envs import Firefighters
from marl.envs.firefighters import FightAlternately, FightHigher, FightLower
from marl.trainers.evaluation import evaluate
from tests.contracts.test_environment_contract import Rumor


def chosen(policy: Policy, s: list[int]) -> list[int]:
    """The action of every node; that nothing is left to chance is checked on the way."""
    probs = policy.probs(torch.tensor([s]))[0]
    assert ((probs == 0.0) | (probs == 1.0)).all()
    return probs.argmax(dim=1).tolist()


@pytest.mark.parametrize(
    ("ties", "cold", "mixed"),
    [
        ("left", [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]),
        ("right", [1, 1, 1, 1, 0], [1, 0, 1, 1, 0]),
        ("parity", [0, 1, 0, 1, 0], [1, 0, 0, 1, 0]),
    ],
)
def test_higher_in_a_row(ties: str, cold: list[int], mixed: list[int]) -> None:
    """Agent 0 has levels 0 and 2, agent 1 has 2 and 1, agents 2 and 3 a tie; the last node has no choice."""
    policy = FightHigher(Firefighters(agents=4), ties=ties)
    assert chosen(policy, [0, 0, 0, 0, 0]) == chosen(policy, [2, 2, 2, 2, 2]) == cold
    assert chosen(policy, [0, 2, 1, 1, 1]) == mixed


def test_lower_in_a_row() -> None:
    """The lower fire of two, but a fire before none."""
    env = Firefighters(agents=4)
    assert chosen(FightLower(env), [0, 2, 1, 0, 0]) == [1, 1, 0, 0, 0]
    assert chosen(FightLower(env, ties="right"), [0, 2, 1, 0, 0]) == [1, 1, 0, 1, 0]
    assert chosen(FightHigher(env), [0, 2, 1, 0, 0]) == [1, 0, 0, 0, 0]


def test_in_a_grid() -> None:
    """Houses 0 1 2 / 3 4 5; the agents of nodes 0 and 1 have 0, 1, 3, 4 and 1, 2, 4, 5."""
    env = Firefighters(rows=1, cols=2)
    levels = [0, 1, 0, 2, 2, 1]
    assert chosen(FightHigher(env), levels) == [2, 2, 0, 0, 0, 0]
    assert chosen(FightHigher(env, ties="right"), levels) == [3, 2, 0, 0, 0, 0]
    assert chosen(FightLower(env), levels) == [1, 0, 0, 0, 0, 0]
    assert chosen(FightLower(env, ties="right"), levels) == [1, 3, 0, 0, 0, 0]
    assert chosen(FightLower(env, ties="parity"), levels) == [1, 3, 0, 0, 0, 0]
    assert chosen(FightAlternately(env), levels) == [0, 3, 0, 0, 0, 0]


def test_alternately_looks_at_nothing() -> None:
    env = Firefighters(agents=5)
    policy = FightAlternately(env, replicas=2)
    assert policy.localized
    for s in ([0] * 6, [0, 1, 2, 0, 1, 2]):
        assert chosen(FightAlternately(env), s) == [0, 1, 0, 1, 0, 0]
    assert policy.probability_table().shape == (2, 6, 3, 2)


def test_surely_doused_and_never_lit() -> None:
    """A limiting case: without new fires and with sure dousing all is put out, and nothing is lost any more."""
    env = Firefighters(rows=2, cols=2, spontaneous=0.0, ignition=0.0, growth=0.0, growth_beside=0.0, dousing_beside=1.0)
    for rule in (FightHigher, FightLower):
        found = evaluate(env, rule(env, replicas=3), steps=200, burn_in=100)
        assert found.average_reward.tolist() == [0.0] * 3


@pytest.mark.parametrize("rule", [FightHigher, FightLower, FightAlternately])
def test_rules_need_houses(rule: type[Policy]) -> None:
    with pytest.raises(ConfigError, match=f"{rule.__name__} is a rule for Firefighters, not for Rumor"):
        rule(Rumor())


def test_ties_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for ties in ("both", None):
        with pytest.raises(ConfigError, match=r"policy.ties must be one of left, right, parity, got "):
            FightHigher(Firefighters(agents=2), ties=ties)  # type: ignore[arg-type]
