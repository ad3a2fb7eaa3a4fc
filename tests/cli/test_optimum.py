"""`marl optimum`: the figures of the systems' pages by command, what is written, what is refused, and where it is shown."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from marl import Epidemic, Network, Uniform
from marl.cli import findings
from marl.cli.findings import Findings
from marl.cli.rules import Candidate
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError, MarlError
from marl.core.policy import Policy
from marl.runs import references
from marl.runs.references import References
from marl.runs.results import known
from tests.cli.command import Marl, Outcome, assert_refused

EPIDEMIC = (
    *("env=epidemic", "env.graph=ring:6", "env.infection=.6", "env.recovery=.3", "env.import_rate=.01"),
    *("env.leak=0", "env.cost=.2"),
)
FIGURES: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "S1 4 3 .5 .6": (
        ("env=load_balancing", "env.graph=ring:4", "env.buffer=3", "env.arrival=.5", "env.service=.6", "env.holding=0"),
        {"uniform": -0.0545, "keep": -0.0328, "jsq": -0.0063, "overflow_only": -0.0079, "optimum": -0.0050},
    ),
    "S1 4 3 .4 .5": (
        ("env=load_balancing", "env.graph=ring:4", "env.buffer=3", "env.arrival=.4", "env.service=.5", "env.holding=0"),
        {"uniform": -0.0445, "keep": -0.0311, "jsq": -0.0048, "optimum": -0.0043},
    ),
    "S1 4 3 .6 .6": (
        ("env=load_balancing", "env.graph=ring:4", "env.buffer=3", "env.arrival=.6", "env.service=.6", "env.holding=0"),
        {"uniform": -0.1012, "keep": -0.0706, "jsq": -0.0357, "optimum": -0.0335},
    ),
    "S1 5 2 .5 .6": (
        ("env=load_balancing", "env.graph=ring:5", "env.buffer=2", "env.arrival=.5", "env.service=.6", "env.holding=0"),
        {"uniform": -0.0892, "keep": -0.0588, "jsq": -0.0340, "overflow_only": -0.0273, "optimum": -0.0251},
    ),
    "S2": (EPIDEMIC, {"uniform": -0.3392, "shield_if_neighbor_infected": -0.0450, "optimum": -0.0445}),
    "S3 4": (
        ("env=firefighters", "env.agents=4", "env.levels=2", "env.spontaneous=.05"),
        {"uniform": -0.0563, "fight_higher": -0.0146, "optimum": -0.0100},
    ),
    "S3 5": (
        ("env=firefighters", "env.agents=5", "env.levels=2", "env.spontaneous=.05"),
        {"uniform": -0.0509, "fight_higher": -0.0122, "optimum": -0.0083},
    ),
}


def written(outcome: Outcome, directory: Path) -> dict[str, Any]:
    assert (outcome.code, outcome.err) == (0, ""), outcome
    found: dict[str, Any] = json.loads((directory / "optimum.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_the_systems(marl: Marl, tmp_path: Path, name: str) -> None:
    overrides, figures = FIGURES[name]
    found = written(marl("optimum", *overrides, "best_local=[]", "out=o"), tmp_path / "o")
    shown = {**found["rules"], "uniform": found["uniform"]}
    assert {k: round(shown[k], 4) for k in figures if k != "optimum"} == {
        k: v for k, v in figures.items() if k != "optimum"
    }
    low, high = found["optimum"]
    assert round(low, 4) == round(high, 4) == figures["optimum"]
    assert max(shown.values()) <= high
    assert found["intervals"] == {}


def test_best_local_rules_of_the_epidemic(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("optimum", *EPIDEMIC, "best_local=[0,1]", "starts=1", "out=o")
    found = written(outcome, tmp_path / "o")
    assert found["best_local"]["0"] == pytest.approx(-0.226, abs=5e-4)
    assert found["best_local"]["1"] == pytest.approx(-0.0445, abs=5e-5)
    assert found["ascent"]["0"] == pytest.approx(-0.2175, abs=5e-4)
    assert max(*found["best_local"].values(), *found["ascent"].values()) <= found["optimum"][1]
    assert "best rule of own state" in outcome.out
    assert "the best of all 4, one for all agents" in outcome.out


def test_what_is_too_large_is_simulated_or_says_why(marl: Marl, tmp_path: Path) -> None:
    overrides = ("env=wireless", "env.rows=4", "env.cols=4", "steps=200", "best_local=[1]")
    outcome = marl("optimum", *overrides, "out=o")
    found = written(outcome, tmp_path / "o")
    assert found["optimum"] is None
    assert found["best_local"] == found["ascent"] == {}
    low, high = found["intervals"]["rules.aloha"]
    assert low < found["rules"]["aloha"] < high
    assert "policy.send_probability=" in found["how"]["rules.aloha"]
    assert outcome.out.count("left out: ") == 3
    assert references.read(tmp_path / "o").reference[0] == "dedicated"


def test_rule_of_ones_own_is_found(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "policy").mkdir()
    rule = "_target_: marl.envs.epidemic.ShieldByDegree\nthreshold: 1.0\n"
    (tmp_path / "own" / "policy" / "shield_most.yaml").write_text(rule, encoding="utf-8")
    found = written(marl("optimum", *EPIDEMIC, "--config-dir", "own", "best_local=[]", "out=o"), tmp_path / "o")
    assert found["rules"]["shield_most"] == pytest.approx(found["rules"]["always_shield"])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["policy=aloha"], "marl optimum tries all rules itself; marl evaluate env=... policy=aloha measures one policy"),
        (["best_local=1"], "best_local must be a list of hops such as [0,1], or [] for none, got 1"),
        (["best_local=[-1]"], "best_local must be a list of hops"),
        (["starts=0"], "starts must be"),
        (["steps=3"], "steps must be"),
        (["memory=0"], "memory must be"),
        (["kappa=1"], "there is no key 'kappa'"),
    ],
)
def test_bad_settings_are_refused(marl: Marl, tmp_path: Path, overrides: list[str], sentence: str) -> None:
    assert_refused(marl("optimum", *EPIDEMIC, *overrides, "out=o"), sentence)
    assert not (tmp_path / "o").exists()


def test_scores_are_shown_beside_references(marl: Marl, tmp_path: Path) -> None:
    """`marl plot` finds the file, `references=` puts the lines into the run, and another environment is refused."""
    assert marl("optimum", *EPIDEMIC, "best_local=[]", "out=runs/known").code == 0
    run = ("train", *EPIDEMIC, "steps=40", "eval.steps=40", "hydra.run.dir=runs/one")
    assert marl(*run, "references=runs/known").code == 0
    assert (tmp_path / "runs" / "one" / "optimum.json").is_file()
    assert_refused(marl(*run, "env.cost=.3", "hydra.run.dir=runs/two", "references=runs/known"), "of another environment")
    assert_refused(marl(*run, "hydra.run.dir=runs/two", "references=nowhere"), "nowhere cannot be read")
    assert_refused(marl(*run, "hydra.run.dir=runs/two", "references=3"), "references must be a directory")
    assert not (tmp_path / "runs" / "two").exists()
    outcome = marl("plot", "runs")
    assert (outcome.code, outcome.err) == (0, "")
    (group,) = json.loads((tmp_path / "plot" / "results.json").read_text(encoding="utf-8"))["groups"]
    score = group["eval_average_reward"]["iqm"]
    share = (score + 0.339246) / (-0.044544 + 0.339246)
    assert group["references"]["share"] == pytest.approx(share, abs=1e-5)
    assert group["references"]["reference"] == "optimum"
    assert f"| {share:.3f} | optimum -0.0445 |" in outcome.out


def test_of_a_run_the_environment_alone_counts(marl: Marl, tmp_path: Path) -> None:
    """Uniform is uniform, not the policy that the run learned, and the digest is that of the run."""
    assert marl("train", *EPIDEMIC, "steps=400", "eval.steps=0", "hydra.run.dir=one", "seed=3").code == 0
    outcome = marl("optimum", "one", "best_local=[]", "out=o")
    found = written(outcome, tmp_path / "o")
    assert found["uniform"] == pytest.approx(-0.339246, abs=1e-6)
    assert "the environment of one" in outcome.out
    assert marl("train", *EPIDEMIC, "steps=400", "eval.steps=0", "hydra.run.dir=two", "references=o").code == 0


def test_lines_stand_in_the_event_file(marl: Marl, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert marl("optimum", *EPIDEMIC, "best_local=[]", "out=known").code == 0
    assert marl("train", *EPIDEMIC, "steps=40", "eval.steps=0", "references=known", "hydra.run.dir=one").code == 0
    events = EventAccumulator(str(tmp_path / "one" / "tb"))
    events.Reload()
    values = {tag: events.Scalars(f"reference/{tag}")[-1].value for tag in ("uniform", "optimum")}
    assert values == pytest.approx({"uniform": -0.339246, "optimum": -0.044544}, abs=1e-5)
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_reference_is_the_best_that_is_known() -> None:
    known = References("digest", -1.0, rules={"a": -0.5, "b": -0.2}, optimum=(-0.101, -0.1), bound=-0.05)
    assert known.reference == ("optimum", pytest.approx(-0.1005))
    assert known.normalized(-1.0) == 0.0
    assert known.normalized(-0.1005) == pytest.approx(1.0)
    wide = References("digest", -1.0, rules={"a": -0.5, "b": -0.2}, optimum=(-0.9, -0.1), bound=-0.05)
    assert wide.reference == ("b", -0.2)
    assert References("digest", -1.0, bound=-0.05).reference == ("bound", -0.05)
    alone = References("digest", -1.0)
    assert alone.reference == ("uniform", -1.0)
    assert alone.normalized(-0.5) is None
    poor = References("digest", -1.0, rules={"a": -1.2}, bound=-0.5)
    assert poor.reference == ("bound", -0.5)
    assert poor.normalized(-0.75) == pytest.approx(0.5)
    assert References("digest", -1.0, rules={"a": -1.2}).normalized(-1.1) is None
    assert References("digest", 0.3, rules={"a": 0.1 + 0.2}).normalized(0.3) is None


def test_newest_of_several_files_counts(tmp_path: Path) -> None:
    """Whatever the order in which directories are walked."""
    for name, at in (("a", 100), ("b", 300), ("c", 200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "optimum.json").write_bytes(References("digest", float(at)).as_json())
        os.utime(tmp_path / name / "optimum.json", (at, at))
    found, left_out = known([tmp_path / name for name in "abc"])
    assert found["digest"].uniform == 300.0
    assert not left_out


def test_broken_rule_of_ones_own_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are not lost for it; and a solver that gives up is no reason to lose anything."""
    env = Epidemic(Network.ring(3))

    def broken(settings: list[dict[str, Any]]) -> Policy:
        raise RuntimeError("a slip of one's own")

    def given_up(env: NetworkedMDP) -> None:
        raise MarlError("the linear program was given up")

    monkeypatch.setattr(findings, "rules_of", lambda env: [Candidate("mine", [{}], broken)])
    monkeypatch.setattr(findings, "marginal_bound", given_up)
    found = list(Findings(env, Uniform(env), [], 1, 20, 0, 1.0))
    assert [one.kind for one in found] == ["uniform", "rules", "optimum", "bound"]
    assert (found[1].value, found[1].how) == (None, "RuntimeError: a slip of one's own")
    assert found[3].value == env.reward_bound()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"uniform": NaN}', b"\xff", b"[" * 100_000, b'{"environment": 1, "uniform": true}']
)
def test_damaged_files_are_sentences(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "optimum.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged, or was not written by marl optimum"):
        references.read(tmp_path)


def test_written_and_read_again(tmp_path: Path) -> None:
    given = References(
        "digest",
        -1.0,
        {"a": -0.5},
        {0: -0.4, 1: -0.3},
        {1: -0.25},
        (-0.2, -0.1),
        -0.05,
        {"rules.a": (-0.6, -0.4)},
        {"a": "b"},
    )
    (tmp_path / "optimum.json").write_bytes(given.as_json(date="2026-01-01"))
    assert references.read(tmp_path) == given
