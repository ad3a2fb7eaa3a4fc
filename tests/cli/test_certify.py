"""`marl certify`: the promised and the measured, as printed, as written, and as they are."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml

from marl.cli.help import conf_dir
from marl.envs import WirelessAccess, random_local_mdp
from marl.exact import Chain, JointPairs, LocalLaws, certificate, coupling_certificate, worst_decay
from marl.policies import TabularSoftmax, Uniform
from tests.cli.command import Marl, Outcome, assert_refused, command_in, contents
from tests.cli.test_start_up import HEAVY, process

PROJECT = Path(__file__).parents[2] / "examples" / "my_project"
RANDOM = ("env=random_local_mdp", "env.graph=line:4")
WEAK = (*RANDOM, "env.interaction=0.25")
"""Agents that notice little of each other: certified in one step."""
PROMISES = ("every policy", "Theorem 1", "this policy")


class Table(NamedTuple):
    """What was printed: cells by heading, and the rest of the lines."""

    cells: dict[str, list[str]]
    lines: list[str]

    def said(self, subject: str) -> str:
        """The sentence of one of the four subjects."""
        (line,) = [line for line in self.lines if line.startswith(f"{subject}:")]
        return line.removeprefix(f"{subject}:").strip()

    def kappas(self) -> dict[str, int]:
        """Where -> recommended kappa."""
        found = [re.fullmatch(r"kappa = (\d+) (?:is|was) enough for accuracy \S+ (.*)", line) for line in self.lines]
        return {match[2]: int(match[1]) for match in found if match}


def printed(outcome: Outcome) -> Table:
    """Errors: AssertionError if the table is not one line per kappa = 0, 1, .. with a cell below every heading."""
    assert (outcome.code, outcome.err) == (0, ""), outcome
    lines = outcome.out.splitlines()
    begin = [k for k, line in enumerate(lines) if re.match("kappa  ", line)]
    if not begin:
        return Table({}, lines)
    headings = re.split(r"\s{2,}", lines[begin[0]])[1:]
    rows = []
    for line in lines[begin[0] + 1 :]:
        if not re.match(r"\s+\d", line):
            break
        rows.append(line.split())
    assert [row[0] for row in rows] == [str(kappa) for kappa in range(len(rows))]
    cells = {heading: [row[c + 1] for row in rows] for c, heading in enumerate(headings)}
    assert all(len(row) == len(headings) + 1 for row in rows)
    return Table(cells, lines)


def written(directory: Path, name: str = "certificate.json") -> dict[str, Any]:
    """The numbers in `out`, which must be strict JSON: NaN and Infinity are not."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {name}")

    return json.loads((directory / name).read_text(), parse_constant=refuse)


def shown(column: list[float], length: int) -> list[str]:
    """As a column of the table."""
    return [f"{x:.4g}" for x in column] + ["0"] * (length - len(column))


def enough(column: list[float], accuracy: float) -> int:
    """The smallest kappa from which on the column stays within the accuracy."""
    return min(kappa for kappa in range(len(column) + 1) if all(x <= accuracy for x in column[kappa:]))


def assert_picture(path: Path) -> None:
    """A PNG with pixels of more than one color."""
    from matplotlib import image

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert image.imread(path, format="png").std() > 0.01


class Certified(NamedTuple):
    """One request of the command and all that came of it."""

    outcome: Outcome
    table: Table
    json: dict[str, Any]
    out: Path


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    directory = tmp_path_factory.mktemp("weak")
    with command_in(directory) as marl:
        outcome = marl("certify", *WEAK, "out=here/deeper")
    return Certified(outcome, printed(outcome), written(directory / "here" / "deeper"), directory / "here" / "deeper")


def test_columns_of_a_certified_network(weak: Certified) -> None:
    assert list(weak.table.cells) == ["every policy", "Theorem 1", "this policy", "measured"]
    assert weak.table.lines[0] == "LocalMDP, 4 agents; Uniform policy; env=random_local_mdp env.graph=line:4 " + WEAK[-1]
    for subject in ("one step, every policy", "several steps, this policy"):
        assert weak.table.said(subject).startswith("certified: ")
    assert weak.table.said("left side of (4)") == "largest over all joint pairs, agents [0, 1, 2, 3]"
    assert weak.table.said("mixing").startswith("sigma = ")


def test_every_bound_is_at_least_what_was_measured(weak: Certified) -> None:
    columns = {name: np.array(column) for name, column in weak.json["columns"].items()}
    assert all(len(column) == 4 for column in columns.values())
    assert columns["measured"][0] > columns["measured"][1] > columns["measured"][2] > columns["measured"][3] == 0.0
    for name in PROMISES:
        assert (columns[name] >= columns["measured"]).all()
    assert (columns["Theorem 1"] >= columns["every policy"]).all()


def test_the_numbers_are_those_of_the_library(weak: Certified) -> None:
    env = random_local_mdp("line:4", interaction=0.25)
    chain = Chain(env, Uniform(env))
    joint, one = JointPairs(chain), certificate(chain.laws)
    several = coupling_certificate(chain.laws, chain.tables, horizon=2)
    assert one.bounds is not None
    assert several.bounds is not None
    assert one.rate is not None
    assert one.constant is not None
    largest = torch.stack([worst_decay(joint, i) for i in range(4)], dim=1)
    expected = {
        "every policy": one.bounds.amax(dim=1).tolist(),
        "Theorem 1": [one.constant * one.rate ** (kappa + 1) for kappa in range(4)],
        "this policy": several.bounds.amax(dim=1).tolist(),
        "measured": largest.amax(dim=1).tolist(),
    }
    assert list(weak.json["columns"]) == list(expected)
    for name, column in expected.items():
        assert weak.json["columns"][name] == pytest.approx(column, rel=1e-9, abs=1e-15)
    by_agent = weak.json["by_agent"]
    assert by_agent["measured"]["largest"] == [pytest.approx(row, rel=1e-9, abs=1e-15) for row in largest.tolist()]
    assert by_agent["this_policy"]["bounds"] == [pytest.approx(row) for row in several.bounds.tolist()]
    assert {found["agents"] == [0, 1, 2, 3] for found in by_agent.values()} == {True}


def test_what_is_written_is_what_is_printed(weak: Certified) -> None:
    assert weak.table.cells == {name: shown(column, 4) for name, column in weak.json["columns"].items()}
    assert {subject: weak.table.said(subject) for subject in weak.json["said"]} == weak.json["said"]
    assert len(weak.json["said"]) == 4
    assert set(weak.json["mixing"]) == {"sigma", "mu_D", "lambda_2"}
    assert f"mu_D = {weak.json['mixing']['mu_D']:.4g}" in weak.json["said"]["mixing"]
    assert weak.json["settings"]["env"]["interaction"] == 0.25
    assert weak.json["accuracy"] == 0.01
    assert weak.table.lines[-1] == "written: here/deeper/certificate.json   here/deeper/certificate.png"
    assert sorted(contents(weak.out)) == ["certificate.json", "certificate.png"]
    assert_picture(weak.out / "certificate.png")


@pytest.mark.parametrize("accuracy", [0.0, 0.001, 0.02, 0.2, 5.0])
def test_the_recommended_kappa_is_what_the_numbers_say(marl: Marl, weak: Certified, accuracy: float) -> None:
    table = printed(marl("certify", *WEAK, f"accuracy={accuracy}"))
    columns = weak.json["columns"]
    assert table.kappas() == {
        "under any policy (certified)": enough(columns["every policy"], accuracy),
        "under this policy (certified)": enough(columns["this policy"], accuracy),
        "where it was measured": enough(columns["measured"], accuracy),
    }
    assert table.cells == weak.table.cells


def test_a_network_of_the_paper_is_not_certified_in_one_step(marl: Marl, tmp_path: Path) -> None:
    table = printed(marl("certify", *RANDOM))
    assert list(table.cells) == ["measured"]
    for subject in ("one step, every policy", "several steps, this policy"):
        assert table.said(subject).startswith("not certified, because the spectral radius of ")
    assert list(table.kappas()) == ["where it was measured"]
    assert set(written(tmp_path / "outputs" / "certify")["by_agent"]) == {"measured"}


def test_the_wireless_network_has_no_bound(marl: Marl, tmp_path: Path) -> None:
    """Its interaction matrix has diagonal 1 and its laws cannot be listed: nothing may look like a bound."""
    table = printed(marl("certify"))
    assert table.cells == {}
    assert table.said("one step, every policy").startswith("not certified, because the spectral radius of C is at least 1")
    assert "from random joint pairs" in table.said("one step, every policy")
    assert table.said("several steps, this policy").startswith("not certified, because ")
    assert table.said("left side of (4)").startswith("not measured, because ")
    assert table.said("mixing").startswith("not computed, because ")
    assert table.kappas() == {}
    assert "no kappa can be recommended for accuracy 0.01" in "\n".join(table.lines)
    found = written(tmp_path / "outputs" / "certify")
    assert (found["columns"], found["by_agent"], found["mixing"]) == ({}, {}, None)
    assert sorted(contents(tmp_path)) == ["outputs", "outputs/certify", "outputs/certify/certificate.json"]


def test_no_picture_of_an_earlier_request_stays(marl: Marl, tmp_path: Path) -> None:
    """... beside numbers that certify nothing."""
    assert marl("certify", *WEAK, "out=here").code == 0
    assert (tmp_path / "here" / "certificate.png").exists()
    assert marl("certify", "out=here").code == 0
    assert sorted(contents(tmp_path / "here")) == ["certificate.json"]


def test_coloring_is_certified_in_three_steps(marl: Marl) -> None:
    """u_i' = a_i: one step certifies nothing, whatever the policy; after three everything is forgotten."""
    coloring = ("env=coloring", "env.graph=line:3", "env.colors=2", "policy=state_independent")
    table = printed(marl("certify", *coloring, "horizon=3"))
    assert list(table.cells) == ["this policy", "measured"]
    assert table.said("one step, every policy").startswith("not certified, because ")
    assert table.said("several steps, this policy").startswith("certified: the spectral radius of the 3-step ")
    assert "Theorems 2 and 3 are vacuous" in table.said("mixing")
    assert "mu_D = 1, " in table.said("mixing")
    two = printed(marl("certify", *coloring, "horizon=2"))
    assert list(two.cells) == ["measured"]
    assert "2-step" in two.said("several steps, this policy")
    none = printed(marl("certify", *coloring, "horizon=1"))
    assert none.said("several steps, this policy") == "not certified, because it was not tried (horizon below 2)"


def test_discounting(marl: Marl, tmp_path: Path) -> None:
    table = printed(marl("certify", *RANDOM, "gamma=0.9", "out=here"))
    found = certificate(LocalLaws(random_local_mdp("line:4")), gamma=0.9)
    assert found.bounds is not None
    assert list(table.cells) == ["every policy"]
    assert table.cells["every policy"] == shown(found.bounds.amax(dim=1).tolist(), 4)
    assert table.said("one step, every policy") == "certified: discounting alone: gamma = 0.9"
    for subject in ("several steps, this policy", "left side of (4)", "mixing"):
        assert "only " in table.said(subject)
    assert list(table.kappas()) == ["under any policy (certified)"]
    assert_picture(tmp_path / "here" / "certificate.png")


def test_only_some_agents(marl: Marl, weak: Certified, tmp_path: Path) -> None:
    table = printed(marl("certify", *WEAK, "agents=[0,2]", "out=here"))
    found = written(tmp_path / "here")
    for name in ("every_policy", "this_policy", "measured"):
        assert found["by_agent"][name]["agents"] == [0, 2]
        key = "largest" if name == "measured" else "bounds"
        chosen = [pytest.approx([row[0], row[2]]) for row in weak.json["by_agent"][name][key]]
        assert found["by_agent"][name][key] == chosen
    assert table.said("left side of (4)").endswith("agents [0, 2]")
    assert table.cells["measured"] != weak.table.cells["measured"]
    # agent 2 sees everybody within 2
    (last,) = printed(marl("certify", *WEAK, "agents=[2]")).cells["measured"][2:]
    assert last == "0"


def test_a_larger_network_is_sampled_and_says_so(marl: Marl) -> None:
    table = printed(marl("certify", "env=random_local_mdp", "env.graph=line:6", "agents=[0]", "samples=10"))
    assert table.said("left side of (4)") == "largest over 10 random (z, z') each, agents [0]: the supremum may be larger"
    assert len(table.cells["measured"]) == 6


INSTANCE = ("env=random_local_mdp", "env.graph=line:3", "env.interaction=0.5")
TRAINED = (*INSTANCE, "steps=300", "eval.steps=0", "logger=none", "replicas=2", "actor_scheduler.value=20")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run, under the name that marl gives it: full of equal signs."""
    directory = tmp_path_factory.mktemp("trained")
    with command_in(directory) as marl:
        assert marl("train", *TRAINED).code == 0
    (summary,) = directory.rglob("summary.json")
    return summary.parent


def trained_chain(run: Path) -> Chain:
    """The chain under replica 0 of the policy in the checkpoint."""
    env = random_local_mdp("line:3", interaction=0.5)
    policy = TabularSoftmax(env, replicas=2)
    policy.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["state"]["trainer"]["policy"])
    return Chain(env, policy, replica=0)


def test_the_trained_policy_of_a_run(marl: Marl, trained: Path, tmp_path: Path) -> None:
    assert "=" in str(trained)
    table = printed(marl("certify", str(trained), "out=here"))
    assert table.lines[0] == f"LocalMDP, 3 agents; TabularSoftmax policy; the policy of {trained} (replica 0)"
    chain = trained_chain(trained)
    joint = JointPairs(chain)
    largest = torch.stack([worst_decay(joint, i) for i in range(3)], dim=1)
    found = written(tmp_path / "here")
    assert found["by_agent"]["measured"]["largest"] == [pytest.approx(row, rel=1e-9, abs=1e-15) for row in largest.tolist()]
    several = coupling_certificate(chain.laws, chain.tables, horizon=2)
    assert several.bounds is not None
    assert found["by_agent"]["this_policy"]["bounds"] == [pytest.approx(row) for row in several.bounds.tolist()]
    untrained = printed(marl("certify", *INSTANCE))
    assert untrained.cells["measured"] != table.cells["measured"]
    assert untrained.cells["this policy"] != table.cells["this policy"]


def test_a_run_is_found_from_beside_it(marl: Marl, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By any relative path, with settings on either side; its folders are called KEY=VALUE,../seed=0."""
    out, cells = f"out={trained.parents[2]}/out", []
    for up, order in ((0, [".", "horizon=0"]), (1, ["./seed=0"]), (2, ["horizon=0", f"{trained.parent.name}/seed=0"])):
        monkeypatch.chdir(trained.parents[up - 1] if up else trained)
        cells.append(printed(marl("certify", *order, out)).cells["measured"])
    assert cells[0] == cells[1] == cells[2]
    monkeypatch.chdir(trained.parent)  # where seed=0 is a folder, and still a setting
    assert "default settings" in marl("certify", "seed=0", out).out


@pytest.mark.parametrize("command", ["certify", "decay"])
def test_a_run_keeps_its_parts(marl: Marl, trained: Path, tmp_path: Path, command: str) -> None:
    for part in ("env=wireless", "env.graph=line:4", "policy=uniform", "+env.foo=1", "policy.hidden=2"):
        outcome = marl(command, str(trained), part)
        assert_refused(outcome, part.lstrip("+").partition("=")[0])
    assert_refused(marl(command, str(trained), "env.rows=2"), "has its own environment and policy", "env.rows=2")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("command", ["certify", "decay"])
def test_own_parts(marl: Marl, tmp_path: Path, command: str) -> None:
    """An environment beside the user, its yaml in a folder with an awkward name."""
    (tmp_path / "it's, a=b").mkdir()
    shutil.copy(PROJECT / "flu.py", tmp_path)
    shutil.copytree(PROJECT / "conf", tmp_path / "it's, a=b" / "conf")
    conf = "it's, a=b/conf"
    own = ("env=flu", "env.graph=ring:3", "env.infection=0.1")
    tables = [
        printed(marl(command, *options, *own))
        for options in (["--config-dir", conf], [f"--config-dir={conf}"], ["-cd", str(tmp_path / conf)])
    ]
    assert tables[0].lines[0].startswith("Flu, 3 agents; Uniform policy; env=flu")
    assert tables[0].cells == tables[1].cells == tables[2].cells
    assert float(next(iter(tables[0].cells.values()))[0]) > 0.0
    assert_refused(marl(command, *own), "env/flu", "--config-dir")


@pytest.mark.parametrize("command", ["certify", "decay"])
def test_help_imports_nothing_heavy_and_names_every_key(tmp_path: Path, command: str) -> None:
    program = (
        f"import sys; sys.argv = ['marl', '{command}', 'env=wireless', '--help']; from marl.cli import main; main(); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = process(sys.executable, "-c", program, cwd=tmp_path)
    assert done.stderr.splitlines()[-1] == "[]"
    keys = [key for key in yaml.safe_load((conf_dir() / f"{command}.yaml").read_text()) if key != "defaults"]
    words = done.stdout[done.stdout.index("keys ") :].split()
    assert set(keys) <= set(words) | {key.rstrip(",") for key in words}
    assert {"env:", "policy:"} <= set(words)
    assert "critic:" not in words
    for group in ("env", "policy"):
        assert ", ".join(sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))) in done.stdout


@pytest.mark.parametrize("command", ["certify", "decay"])
def test_without_matplotlib_there_are_still_numbers(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = marl(command, *WEAK, "out=here")
    assert (outcome.code, outcome.err) == (0, "")
    assert "networked-marl[plots]" in outcome.out
    assert [Path(path).suffix for path in contents(tmp_path / "here")] == [".json"]


BAD = [  # (added to a good request, what the message must say)
    ("foo=1", ["'foo'"]),
    ("+bar=2 foo=1", ["foo"]),
    ("env.foo=1", ["'env.foo'"]),
    ("critic.kappa=1", ["'critic.kappa'"]),
    ("env=nosuch", ["env/nosuch", "wireless"]),
    ("policy=nosuch", ["policy/nosuch", "uniform"]),
    ("env.graph=line:ten", ["env.graph='line:ten'"]),
    ("env.interaction=2", ["env.interaction", "got 2"]),
    ("policy=aloha", ["Aloha is a rule for WirelessAccess", "LocalMDP"]),
    ("--nonsense", ["'--nonsense'", "--help"]),
    ("-m", ["'-m'"]),
    ("--config-dir", ["--config-dir needs a directory"]),
    ("--config-dir nowhere", ["nowhere is no directory"]),
    ("nowhere", ["nowhere/checkpoint.pt", "directory of a run"]),
    ("empty", ["empty/checkpoint.pt", "directory of a run"]),
    ("a_file", ["a_file/checkpoint.pt", "directory of a run"]),
    ("outputs/env.rows=2,steps=40/seed=0", ["outputs/env.rows=2,steps=40/seed=0/checkpoint.pt", "directory of a run"]),
    ("accuracy=-1", ["accuracy", "got -1"]),
    ("accuracy=nan", ["accuracy", "nan"]),
    ("accuracy=abc", ["accuracy", "'abc'"]),
    ("accuracy=null", ["accuracy", "None"]),
    ("agents=[99]", ["no agent 99", "0 to 3"]),
    ("agents=[-1]", ["no agent -1", "0 to 3"]),
    ("agents=[]", ["agents", "list", "[]"]),
    ("agents=2", ["agents", "list", "got 2"]),
    ("agents=[0.5]", ["agents", "list", "0.5"]),
    ("agents=[true]", ["agents", "list", "True"]),
    ("agents=[[0]]", ["agents", "list", "[[0]]"]),
    ("samples=0", ["samples", "got 0"]),
    ("samples=1.5", ["samples", "1.5"]),
    ("seed=-1", ["seed", "-1"]),
    ("seed=abc", ["seed", "'abc'"]),
    ("memory=0", ["memory", "got 0"]),
    ("memory=-1", ["memory", "got -1"]),
    ("memory=abc", ["memory", "'abc'"]),
    ("out=null", ["out", "None"]),
    ("out=3", ["out", "3"]),
    ("out=a_file", ["out=a_file", "cannot be written"]),
    ("out=a_file/deeper", ["out=a_file/deeper", "cannot be written"]),
    ("out=/proc/nothing/here", ["out=/proc/nothing/here", "cannot be written"]),
    ("out=empty/new foo=1", ["foo"]),
]
BAD_FOR = {
    "certify": [
        ("gamma=2", ["gamma", "got 2"]),
        ("gamma=-0.1", ["gamma", "-0.1"]),
        ("gamma=abc", ["gamma", "'abc'"]),
        ("horizon=-1", ["horizon", "got -1"]),
        ("horizon=1.5", ["horizon", "1.5"]),
        ("horizon=-1 gamma=0.9", ["horizon", "got -1"]),
        ("samples=0 gamma=0.9", ["samples", "got 0"]),
        ("out=deep/er horizon=abc", ["horizon", "'abc'"]),
    ],
    "decay": [
        ("gamma=0.9", ["'gamma'"]),
        ("horizon=2", ["'horizon'"]),
        ("out=deep/er agents=[99]", ["no agent 99"]),
    ],
}


@pytest.mark.parametrize(
    ("command", "text", "fragments"),
    [(command, *bad) for command in BAD_FOR for bad in (*BAD, *BAD_FOR[command])],
    ids=[f"{command} {text}" for command in BAD_FOR for text, _ in (*BAD, *BAD_FOR[command])],
)
def test_refused(marl: Marl, tmp_path: Path, command: str, text: str, fragments: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").touch()
    before = contents(tmp_path)
    assert_refused(marl(command, *RANDOM, *shlex.split(text)), *fragments)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["certify", "decay"])
def test_what_was_written_before_survives_a_bad_request(marl: Marl, tmp_path: Path, command: str) -> None:
    assert marl(command, *RANDOM, "out=here").code == 0
    before = contents(tmp_path)
    for bad in ("accuracy=-1", "memory=0", "env.graph=line:ten", "agents=[7]"):
        assert_refused(marl(command, *RANDOM, "out=here", bad))
    assert contents(tmp_path) == before


def test_an_environment_that_states_no_law(marl: Marl, tmp_path: Path) -> None:
    """It can be trained, but nothing exact can be said: one sentence."""
    (tmp_path / "blind.py").write_text(
        "from marl import FiniteEnvironment\n"
        "from marl.envs import WirelessAccess\n\n\n"
        "class Blind(FiniteEnvironment):\n"
        "    def __init__(self, **arguments):\n"
        "        env = WirelessAccess(rows=1, cols=2, access_points='corners')\n"
        "        names = ('num_states', 'num_actions', 'action_mask', 'num_uniforms', 'reward_range')\n"
        "        super().__init__(env.network, **{name: getattr(env, name) for name in names},\n"
        "                         private_actions=False, private_rewards=False)\n"
        "        self._reset, self._step = env._reset, env._step\n\n"
        "    def _reset(self, u): ...\n"
        "    def _step(self, s, a, u): ...\n"
    )
    before = contents(tmp_path)
    for command in ("certify", "decay"):
        assert_refused(marl(command, "env._target_=blind.Blind"), "states its law", "Blind can only be sampled")
    assert {path: content for path, content in contents(tmp_path).items() if "__pycache__" not in path} == before


def test_a_run_of_the_wireless_network(marl: Marl, tmp_path: Path) -> None:
    """A small one can be measured: the trained policy is used, and Theorem 1 certifies nothing."""
    parts = ("env.rows=1", "env.cols=2", "env.access_points=corners")
    assert marl("train", *parts, "steps=40", "eval.steps=0", "logger=none", "hydra.run.dir=run").code == 0
    table = printed(marl("certify", "run", "out=here"))
    assert "Theorem 1" not in table.cells
    assert table.said("one step, every policy").startswith("not certified, because ")
    env = WirelessAccess(rows=1, cols=2, access_points="corners")
    policy = TabularSoftmax(env)
    policy.load_state_dict(torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["state"]["trainer"]["policy"])
    joint = JointPairs(Chain(env, policy))
    largest = torch.stack([worst_decay(joint, i) for i in range(2)], dim=1).amax(dim=1).tolist()
    assert table.cells["measured"] == shown(largest[: len(table.cells["measured"])], len(table.cells["measured"]))


def test_a_run_whose_policy_looks_around(marl: Marl, tmp_path: Path) -> None:
    """It has a certificate of its own, for itself alone, and is measured as any other."""
    run = (*WEAK, "policy=neighborhood_softmax", "critic=additive", "steps=10", "eval.steps=0", "logger=none")
    assert marl("train", *run, "hydra.run.dir=run").code == 0
    table = printed(marl("certify", "run", "out=here"))
    assert list(table.cells) == ["this policy", "measured"]
    assert table.said("one step, this policy").startswith("certified: the spectral radius of the matrix H of this policy")
    assert "use neighborhood_certificate" in table.said("several steps, this policy")
    found = written(tmp_path / "here")
    bounds, largest = np.array(found["by_agent"]["this_policy"]["bounds"]), found["by_agent"]["measured"]["largest"]
    assert (bounds >= np.array(largest)).all()
    assert found["columns"]["this policy"] == bounds.max(axis=1).tolist()
    measured = marl("decay", "run", "out=there")
    assert measured.code == 0
    assert written(tmp_path / "there", "decay.json")["largest"] == [row[:1] for row in largest]
