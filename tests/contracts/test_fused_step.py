"""Compiled steps keep their contract, and the check sees those that do not."""

import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from marl import Coloring, ConfigError, ContractError, WirelessAccess, check_fused_step
from marl.core.environment import FiniteEnvironment
from marl.envs import random_local_mdp
from marl.kernels.arguments import FusedStep
from marl.kernels.steps import STEP
from tests.trainers.test_fused import assert_equal, trainer

PROJECT = Path(__file__).parents[2] / "examples" / "my_project"
ENVIRONMENTS = {
    "interior": lambda: WirelessAccess(),
    "crowded": lambda: WirelessAccess(rows=2, cols=2, users_per_cell=3, deadline=3, success=1.0),
    "any-slot": lambda: WirelessAccess(
        rows=2, cols=3, access_points="corners", deadline=[1, 2, 3, 1, 2, 4], action_set="any_slot"
    ),
    "coloring": lambda: Coloring("grid:3x3", colors=3),
    "lonely": lambda: Coloring("line:1"),
    "tables": lambda: random_local_mdp("line:5", [2, 3, 2, 1, 3], [2, 1, 3, 2, 2], private_actions=False, reward_low=-1.0),
    "shared rewards": lambda: random_local_mdp("ring:4", 3, 2, private_rewards=False),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_ours(name: str) -> None:
    check_fused_step(ENVIRONMENTS[name]())


def test_the_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(PROJECT)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "star.txt").write_text("0 1\n0 2\n0 3\n0 4\n")
    from fast_flu import FastFlu  # type: ignore[import-not-found]

    check_fused_step(FastFlu())
    check_fused_step(FastFlu(graph=str(tmp_path / "star.txt"), spontaneous=0.3, cost=0.5))
    fused, autograd = (trainer(FastFlu(), engine, 1) for engine in ("auto", "autograd"))
    assert fused.engine == "fused"
    for run in (fused, autograd):
        run.run(300)
    assert_equal(fused, autograd)


class Coin(FiniteEnvironment):
    """Two agents; the state is the last action, the reward says whether they agree. `form` is its compiled step."""

    def __init__(self, form: FusedStep | None):
        from marl import Network

        super().__init__(
            Network.line(2),
            num_states=torch.tensor([2, 2]),
            num_actions=torch.tensor([2, 2]),
            action_mask=torch.ones(2, 2, 2, dtype=torch.bool),
            num_uniforms=1,
            reward_range=(0.0, 1.0),
            private_actions=True,
            private_rewards=False,
        )
        self.form = form

    def fused(self) -> FusedStep | None:
        return self.form

    def _reset(self, u):
        return (u[..., 0] < 0.5).long()

    def _step(self, s, a, u):
        return a.clone(), (s[..., :1] == s[..., 1:]).double().expand(s.shape)


def coin(change):
    """A step of `Coin` with something wrong (or right) at the end."""

    @numba.njit(STEP)
    def step(ints, floats, work, s, a, u, next_s, r):
        for i in range(2):
            next_s[i] = a[i]
            r[i] = np.float64(s[0] == s[1])
        if change == 1:
            next_s[1] = a[0]
        if change == 2:
            r[0] += 1e-6
        if change == 3:
            s[0] = 1
        if change == 4 and work[0] > 0:
            r[0] = 0.5
        if change == 5:
            ints[0] += 1

    return FusedStep(step, np.zeros(1, dtype=np.int64), np.zeros(1), work=1)


def test_a_right_one_passes() -> None:
    check_fused_step(Coin(coin(0)))


@pytest.mark.parametrize(
    ("change", "words"),
    [(1, "next states"), (2, "rewards"), (3, "changed what it may only read"), (4, "rewards"), (5, "may only read")],
)
def test_a_wrong_one_is_seen(change: int, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        check_fused_step(Coin(coin(change)))


def test_a_step_of_another_signature_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"step of Coin must be decorated with @cached_njit\(STEP\)"):
        check_fused_step(Coin(FusedStep(numba.njit(lambda s: s), np.zeros(0, dtype=np.int64), np.zeros(0))))
    with pytest.raises(ConfigError, match="must be decorated"):
        check_fused_step(Coin(FusedStep(print, np.zeros(0, dtype=np.int64), np.zeros(0))))


def test_a_subclass_says_itself_that_its_step_is_the_same() -> None:
    class Silent(WirelessAccess):
        """Says nothing."""

    class Same(WirelessAccess):
        fused = WirelessAccess.fused

    check_fused_step(Same(rows=2, cols=2))
    assert trainer(Same(rows=2, cols=2), "auto", 1).engine == "fused"
    assert trainer(Silent(rows=2, cols=2), "auto", 1).engine == "autograd"
    with pytest.raises(ContractError, match=r"Silent does not say .* `fused = WirelessAccess\.fused`"):
        check_fused_step(Silent(rows=2, cols=2))


def test_there_may_be_nothing_to_check() -> None:
    with pytest.raises(ContractError, match="Coin has no compiled form"):
        check_fused_step(Coin(None))
