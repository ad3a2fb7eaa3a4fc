"""BenchMARL on environments of the library: what its agents see, and, where it is installed, that it trains."""

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch

from marl import ConfigError, Epidemic, WirelessAccess

EXAMPLES = Path(__file__).parents[1] / "examples"
STAR = "0 1\n0 2\n0 3\n2 3\n3 4\n"
"""Degrees 3, 1, 2, 3, 1."""


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; the libraries that it imports warn of their own future."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with warnings.catch_warnings(action="ignore"):
        import benchmarl_baselines  # type: ignore[import-not-found]
    return benchmarl_baselines


@pytest.fixture
def epidemic(tmp_path: Path) -> Epidemic:
    (tmp_path / "graph.txt").write_text(STAR, encoding="utf-8")
    return Epidemic(graph=str(tmp_path / "graph.txt"), waning=0.2)


def test_agents_see_themselves_their_neighbors_and_who_they_are(baselines: ModuleType, epidemic: Epidemic) -> None:
    """Against a plain loop, on a graph with unequal degrees, for any leading axes."""
    n, states = epidemic.n, 3
    s = torch.randint(states, (2, 7, n), generator=torch.Generator().manual_seed(0))
    seen = baselines.observe(epidemic, s)
    assert seen.shape == (2, 7, n, 4 * states + n)
    edges = epidemic.network.edges.tolist()
    for k in range(2):
        for b in range(7):
            for i in range(n):
                shown = [i, *(j for j in range(n) if [i, j] in edges or [j, i] in edges)]
                expected = [float(s[k, b, j] == x) for j in shown for x in range(states)]
                expected += [0.0] * states * (4 - len(shown)) + [float(j == i) for j in range(n)]
                assert seen[k, b, i].tolist() == expected


def test_without_benchmarl_a_sentence_says_what_to_install(baselines: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MISSING", ImportError("No module named 'benchmarl'"))
    with pytest.raises(ConfigError, match=r"No module named 'benchmarl'.*pip install 'networked-marl\[benchmarl\]'"):
        baselines.main(["env=epidemic"])


@pytest.mark.filterwarnings("ignore")
def test_copies_are_paid_together_and_cut(
    baselines: ModuleType, epidemic: Epidemic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are those of the environment; some copies can start anew while others go on; nothing ever terminates."""
    pytest.importorskip("benchmarl")
    from torchrl.envs.utils import check_env_specs

    monkeypatch.setattr(baselines, "EPISODE", 3)
    copies = baselines.CopiesEnv(epidemic, 4, seed=0)
    check_env_specs(copies)
    noise = torch.Generator().manual_seed(5)
    copies.set_seed(5)
    u = torch.rand(4, 4, epidemic.n, epidemic.num_uniforms, dtype=torch.float64, generator=noise)
    found, s = copies.reset(), epidemic.reset(u[0])
    for t in range(3):
        assert torch.equal(found["agents", "observation"], baselines.observe(epidemic, s))
        a = torch.full_like(s, t % 2)
        s, r = epidemic.step(s, a, u[t + 1])
        found["agents", "action"] = a
        found = copies.step(found)["next"]
        assert torch.equal(found["reward"], r.mean(dim=1, keepdim=True).float())
        assert not found["terminated"].any()
        assert found["done"].all() == found["truncated"].all() == (t == 2)
    before = copies.s
    anew = torch.tensor([True, False, True, False])[:, None]
    copies.reset(found.set("_reset", anew))
    assert copies.t.flatten().tolist() == [0, 3, 0, 3]
    assert torch.equal(copies.s[1::2], before[1::2])


@pytest.fixture
def tiny(baselines: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with batches of 20 frames."""
    pytest.importorskip("benchmarl")
    for name, value in {"ENVIRONMENTS": 4, "EPISODE": 5, "MINIBATCH": 10, "RECORDED": 20, "BURN_IN": 5}.items():
        monkeypatch.setattr(baselines, name, value)
    return baselines


@pytest.mark.filterwarnings("ignore")
def test_benchmarl_trains_on_a_network(tiny: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two batches and the evaluation, on a network where some actions are illegal."""
    overrides = ["env=wireless", "env.rows=2", "env.cols=2"]
    tiny.main([*overrides, "--algorithm", "mappo", "--frames", "25", "--seeds", "1", "--out", str(tmp_path)])
    (file,) = tmp_path.iterdir()
    assert file.name == "mappo,env=wireless,env.rows=2,env.cols=2,seed=0.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result.items() >= {"algorithm": "mappo", "overrides": overrides, "seed": 0, "frames": 40}.items()
    assert result["training_frames_per_second"] >= result["frames_per_second"] > 0.0
    assert 0.0 <= result["average_reward"] <= 1.0
    assert f"average reward {result['average_reward']:.4f}, mean over 1 seeds" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_a_trained_policy_is_the_one_that_acted(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its probabilities are those that TorchRL draws from, zero for illegal actions."""
    kept = []

    class Kept(tiny.Experiment):  # type: ignore[misc, name-defined]
        def run(self) -> None:
            kept.append(self)
            super().run()

    monkeypatch.setattr(tiny, "Experiment", Kept)
    env = WirelessAccess(rows=2, cols=2)
    policy, _ = tiny.train(env, "ippo", 20, 0)
    copies = tiny.CopiesEnv(env, tiny.COPIES, seed=1)
    found = copies.rollout(3, policy=kept[0].policy)[:, -1]
    distribution = kept[0].group_policies["agents"].get_dist(found)
    probabilities = policy.probs(s := found["agents", "observation"][..., : env.action_mask.shape[1]].argmax(-1))
    assert torch.allclose(probabilities.float(), distribution.probs, atol=1e-6)
    legal = env.action_mask[torch.arange(env.n), s]
    assert (~legal).any()
    assert (probabilities[~legal] == 0.0).all()
