"""The figures of docs/systems/wireless.md, exact, of 2 x 3 users."""

import re
from pathlib import Path

import pytest

from marl import Aloha, DedicatedMatching, Policy, Uniform, WirelessAccess
from marl.envs.wireless.limits import dedicated_matching, flow_bound
from marl.exact import AverageValues, Chain

PAGE = Path(__file__).parents[2] / "docs" / "systems" / "wireless.md"
ENV = WirelessAccess(rows=2, cols=3)


def shown(name: str) -> str:
    """The figure that the page has in the row of this name."""
    found = re.search(rf"^\| {name}[^|]*\| (0\.\d{{4}}) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found is not None
    return found[1]


def average_reward(policy: Policy) -> float:
    return AverageValues(Chain(ENV, policy)).J.mean().item()


def test_limits_are_those_of_the_page() -> None:
    matching, _ = dedicated_matching(ENV)
    assert f"{matching:.4f}" == shown("dedicated matching")
    assert f"{flow_bound(ENV):.4f}" == shown("flow bound")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("uniform", Uniform(ENV)),
        ("best of 20 ALOHA", Aloha(ENV, send_probability=0.65)),
        ("dedicated matching", DedicatedMatching(ENV)),
    ],
)
def test_rules_earn_what_the_page_says(name: str, policy: Policy) -> None:
    assert f"{average_reward(policy):.4f}" == shown(name)
