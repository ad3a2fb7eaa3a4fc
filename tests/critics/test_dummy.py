"""The dummy pair of Algorithm 1: its value is 0 for ever, in every form it may be written."""

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.critics import TabularCritic
from marl.envs import WirelessAccess
from tests.critics.experience import REPLICAS as B
from tests.critics.experience import experience, learn, neighborhood_pairs


@pytest.mark.parametrize("kind", ["dense", "hash"])
@pytest.mark.parametrize("dummy", [1, [1, 0, 2], [[1, 0], [1, 0, 2], [0, 2]], [[0, 3], [6, 3, 5], [1, 1]]], ids=str)
def test_the_dummy_pair_stays_zero(mixed: WirelessAccess, dummy: int | list[int] | list[list[int]], kind: str) -> None:
    critic = TabularCritic(mixed, kappa=1, storage=kind, dummy=dummy, replicas=B)
    members = [[0, 1], [0, 1, 2], [1, 2]]
    rows = [dummy] * 3 if isinstance(dummy, int) else dummy
    full = [row if isinstance(row, list) else [rows[j] for j in members[i]] for i, row in enumerate(rows)]
    where = [
        {int(mixed.pair_index[j, s, a]): (s, a) for s, a in (mixed.pair_index[j] >= 0).nonzero().tolist()} for j in range(3)
    ]
    plain = TabularCritic(mixed, kappa=1, storage=kind, replicas=B)
    for k, step in enumerate(experience(mixed, 120)):
        i = k % 4
        if i < 3:  # the dummy pair of agent i
            for j, pair in zip(members[i], full[i], strict=True):
                step.s[:, j], step.a[:, j] = torch.tensor(where[j][pair])
        is_dummy = torch.tensor(
            [[(i, *full[i]) == z for i, z in enumerate(neighborhood_pairs(critic, step.s, step.a, b))] for b in range(B)]
        )
        for learner in (critic, plain):
            learn(learner, step)
        q = critic.q(step.s, step.a)
        assert torch.equal(q == 0.0, is_dummy)
        assert (plain.q(step.s, step.a) != 0.0).all()
    assert critic.table.values[-1] == 0.0
    torch.testing.assert_close(critic.mu, plain.mu, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dummy", "words"),
    [
        (7, r"critic.dummy: agent 0 has pairs 0 to 6, got 7"),
        (5, r"critic.dummy: agent 1 has pairs 0 to 3, got 5"),
        (-1, r"critic.dummy\[0\] must be a whole number of at least 0, got -1"),
        (True, r"critic.dummy\[0\] must be a whole number"),
        (0.5, "critic.dummy"),
        ([0, 0], "critic.dummy needs one pair number, or 3 of them or of lists, got 2"),
        ([0, 0, 0.5], r"critic.dummy\[1\] must be a whole number"),
        ([[0, 0], [0, 0], [0, 0]], r"critic.dummy\[1\] needs 3 pair numbers, one per neighbor, got "),
        ([[0, 0], [0, 4, 0], [0, 0]], r"critic.dummy: agent 1 has pairs 0 to 3, got 4"),
        ([0, [0, 0, 0], [0, 0]], "critic.dummy"),
    ],
    ids=str,
)
def test_dummies_that_are_no_legal_pair_are_refused(
    monkeypatch: pytest.MonkeyPatch, mixed: WirelessAccess, dummy: object, words: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        TabularCritic(mixed, kappa=1, dummy=dummy)  # type: ignore[arg-type]
