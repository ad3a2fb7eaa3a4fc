"""experiments/collapse.py changes one thing at a time in Algorithm 1: what it changes is what it says."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from marl import Epidemic, Network, Policy, TabularSoftmax
from marl.exact import Chain, gradient


@pytest.fixture(scope="module")
def collapse() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
    try:
        import collapse
    finally:
        sys.path.pop(0)
    return collapse


def test_a_table_is_asked_for_actions_that_were_not_taken(collapse: Any) -> None:
    """Against a table that is read for every agent, action and neighbor by itself, in two batches of three replicas."""
    env = Epidemic(Network.line(4))
    critic = collapse.AskedTable(env, kappa=1, replicas=3)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        critic.table.values[:-1] = torch.randn(critic.table.values[:-1].shape, generator=draw, dtype=torch.float64)
    s, a = torch.randint(2, (2, 2, 3, 4), generator=draw)
    found = critic.counterfactual(s, a)
    for i, near in enumerate([[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]):
        for x in range(2):
            instead = a.clone()
            instead[..., i] = x
            expected = sum(critic.q(s, instead)[..., j] for j in near) / 4
            torch.testing.assert_close(found[..., i, x], expected.detach())


def test_ascent_takes_steps_of_time(collapse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of 5 along the exact gradient, written out."""
    ring = collapse.Ring()
    monkeypatch.setattr(collapse, "ASCENT", 10)
    policy, times, scores = collapse.climbed(ring, TabularSoftmax(ring.env), 0.0, 0, None)
    by_hand: Policy = TabularSoftmax(ring.env)
    for _ in range(2):
        slope = gradient(Chain(ring.env, by_hand))["theta"]
        with torch.no_grad():
            by_hand.theta[0] += 5 * slope
    torch.testing.assert_close(policy.theta, by_hand.theta)
    assert times == [0, 5, 10]
    assert scores == pytest.approx([-0.339246, *scores[1:2], *ring.score(by_hand)], abs=1e-6)
    assert scores == sorted(scores)
