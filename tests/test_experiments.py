"""The scripts of experiments/ and benchmarks/ run from the command line and write what they promise."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl import Constant, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
from marl.envs.wireless.limits import dedicated_matching
from tests.programs import program

REPOSITORY = Path(__file__).parents[1]
PLACEMENTS, KAPPAS = ("interior", "corners"), ("kappa=0", "kappa=1")


def script(*command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **more}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


Fig5 = tuple[subprocess.CompletedProcess[str], Path, dict[str, Any]]


@pytest.fixture(scope="module")
def fig5(tmp_path_factory: pytest.TempPathFactory) -> Fig5:
    """What experiments/fig5_wireless.py printed, where it wrote, and the numbers."""
    directory = tmp_path_factory.mktemp("fig5")
    program = str(REPOSITORY / "experiments" / "fig5_wireless.py")
    arguments = ("--steps", "400", "--replicas", "2", "--out", "out")
    done = script(program, *arguments, cwd=directory, NUMBA_NUM_THREADS="1")  # a loop that most tests compile, too
    assert done.returncode in (0, 1), done.stderr
    return done, directory / "out", json.loads((directory / "out" / "results.json").read_text())


def test_fig5_writes_a_picture_and_one_run_per_curve(fig5: Fig5) -> None:
    done, out, _ = fig5
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    runs = {str(path.parent.relative_to(out)) for path in out.rglob("summary.json")}
    assert runs == {f"{placement},{kappa}" for placement in PLACEMENTS for kappa in KAPPAS}
    assert "out/figure.png" in done.stdout
    assert "out/results.json" in done.stdout


def test_fig5_numbers(fig5: Fig5) -> None:
    _, out, results = fig5
    assert {"date", "command", *PLACEMENTS} == set(results)
    assert "--replicas 2" in results["command"]
    for placement in PLACEMENTS:
        base = results[placement]["baselines"]
        scan = {float(x): reward for x, reward in base["aloha_scan"].items()}
        assert sorted(scan) == pytest.approx(np.arange(1, 21) / 20)
        assert scan[round(base["aloha_send_probability"], 2)] == max(scan.values())
        assert 0.0 < base["uniform"] < 1.0
        for kappa in KAPPAS:
            curve = results[placement][kappa]
            with np.load(out / f"{placement},{kappa}" / "metrics.npz") as metrics:
                step, reward = metrics["step"], metrics["train/average_reward"]
            assert curve["step"] == step.tolist() == list(range(2, 401, 2))
            assert curve["median"] == pytest.approx(np.median(reward, axis=1).tolist())
            assert curve["last_tenth"] == pytest.approx(reward[step > 360].mean(axis=0).tolist())
            assert all(low <= high for low, high in zip(curve["p10"], curve["p90"], strict=True))
            assert len(curve["evaluated"]) == 2
            assert {f"critic.{kappa}", "steps=400", "replicas=2", f"experiment=fig5_{placement}"} <= set(curve["overrides"])


def test_fig5_says_whether_the_order_holds(fig5: Fig5) -> None:
    """Exit code, printed verdict and the numbers agree (after 400 steps the order need not hold)."""
    done, _, results = fig5
    holds = True
    for placement in PLACEMENTS:
        base = results[placement]["baselines"]
        learned = min(float(np.mean(results[placement][kappa]["last_tenth"])) for kappa in KAPPAS)
        holds = holds and base["uniform"] < base["aloha"] < learned
        (row,) = [line.split() for line in done.stdout.splitlines() if line.startswith(placement)]
        assert row[1:3] == [f"{base['uniform']:.3f}", f"{base['aloha']:.3f}"]
    assert done.returncode == (0 if holds else 1)
    assert ("does NOT hold" in done.stdout) == (not holds)


@pytest.mark.slow
def test_fig5_at_full_length_in_short(tmp_path: Path) -> None:
    """Twelve curves, a table, a picture; groups of replicas are the replicas of one run; nothing is run twice."""
    program = str(REPOSITORY / "experiments" / "fig5_full.py")
    settings = ("--steps", "400", "--replicas", "5", "--out", "out")
    done = script(program, *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    curves = sorted((out / "curves").iterdir())
    assert len(curves) == 12
    results = json.loads((out / "results.json").read_text())
    for placement in PLACEMENTS:
        lines = results[placement]["references"]
        assert lines["uniform"] < lines["dedicated matching"] < lines["flow bound"]
        assert "holds" in results[placement]["power law"]["assumption 3"]
        assert "fails" in results[placement]["constant"]["assumption 3"]
        with np.load(out / "curves" / f"{placement},constant,kappa=2.npz") as curve:
            reward, step = curve["reward"], curve["step"]
        assert reward.shape == (200, 5)
        env = WirelessAccess(access_points=placement)
        sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(3.0)}
        solo = ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env, kappa=2), **sizes, seed=4)
        solo.run(int(step[0]))
        assert reward[0, 4] == pytest.approx(float(solo.total_reward) / step[0], abs=1e-12)
        mean = reward[step > 360].mean()
        assert results[placement]["constant"]["kappa=2"]["last_tenth"] == pytest.approx(mean)
        assert f"{mean:.3f} +-" in done.stdout
    before = [path.stat().st_mtime_ns for path in curves]
    assert script(program, *settings, cwd=tmp_path).stdout == done.stdout
    assert [path.stat().st_mtime_ns for path in curves] == before


@pytest.mark.slow
def test_speed_prints_one_json_line_per_setting(tmp_path: Path) -> None:
    program = str(REPOSITORY / "benchmarks" / "speed.py")
    done = script(program, "--steps", "20", "--repeats", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    settings = [(line["critic"], line["kappa"], line["replicas"]) for line in lines]
    assert len(set(settings)) == len(settings)
    assert {(critic, kappa, b) for critic in ("tabular", "neural") for kappa in (0, 1) for b in (1, 32)} <= set(settings)
    for line in lines:
        assert line["replica_steps_per_second"] == pytest.approx(line["replicas"] * line["env_steps_per_second"], rel=1e-2)
        assert 0.0 < line["slowest"] <= line["env_steps_per_second"] + 0.1
        assert (line["steps"], line["repeats"]) == (20, 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from Linux's files")
@pytest.mark.parametrize("setting", [("160", "0", "100", "8"), ("100", "1", "200", "4")])
def test_memory_is_foretold_within_a_tenth(tmp_path: Path, setting: tuple[str, ...]) -> None:
    done = script(str(REPOSITORY / "benchmarks" / "memory.py"), *setting, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0.9 < json.loads(done.stdout)["measured_to_foretold"] < 1.1


@pytest.mark.slow
def test_the_gallery_in_short(tmp_path: Path) -> None:
    """Two methods, two draws: a table, a picture, scores relative to the references of every draw; nothing runs twice."""
    program = str(REPOSITORY / "experiments" / "gallery.py")
    settings = ("--methods", "independent,additive", "--draws", "3,4", "--seeds", "2", "--steps", "640", "--out", "out")
    done = script(program, *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((out / "results.json").read_text())
    for method in ("independent", "additive"):
        share = []
        for draw in (3, 4):
            env = WirelessAccess(instance_seed=draw)
            summary = json.loads((out / method / f"draw_{draw}" / "summary.json").read_text())
            assert summary["config"]["env"]["instance_seed"] == draw
            share.append(sum(summary["average_reward"]) / 2 / dedicated_matching(env)[0])
        mean, low, high = results["methods"][method]["dedicated"]
        assert mean == pytest.approx(sum(share) / 2)
        assert low <= mean <= high
        assert f"`{method}`" in done.stdout
    before = [path.stat().st_mtime_ns for path in sorted(out.rglob("summary.json"))]
    assert script(program, *settings, cwd=tmp_path).returncode == 0
    assert [path.stat().st_mtime_ns for path in sorted(out.rglob("summary.json"))] == before


@pytest.mark.slow
def test_systems_in_short(tmp_path: Path) -> None:
    """Two systems, two methods that see differently: scores are those of the runs, beside what marl optimum wrote."""
    program = str(REPOSITORY / "experiments" / "systems.py")
    chosen = ("--systems", "epidemic,traffic", "--methods", "additive,pairwise", "--seeds", "2", "--steps", "200")
    done = script(program, *chosen, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((out / "results.json").read_text())["systems"]
    assert results["epidemic"]["reference"] == ["optimum", pytest.approx(-0.0445, abs=1e-4)]
    assert results["traffic"]["reference"][0] == "longest_queue"  # 3 x 3 signals have too many joint states
    assert "1 is | | optimum | longest_queue |" in done.stdout
    for system, found in results.items():
        seen = {"additive": "own state"} | ({} if system == "traffic" else {"pairwise": "1 hop"})  # there it takes hours
        assert {name: score["sees"] for name, score in found["methods"].items()} == seen
        known = json.loads((out / system / "optimum.json").read_text())
        assert all(f"`{rule}` | {value:.4f}" in done.stdout for rule, value in known["rules"].items())
        for method, score in found["methods"].items():
            mean = sum(json.loads((out / system / method / "summary.json").read_text())["eval_average_reward"]) / 2
            way = found["reference"][1] - known["uniform"]
            assert (score["mean"], score["share"]) == pytest.approx((mean, (mean - known["uniform"]) / way))
            assert f"`method={method}`" in done.stdout


@pytest.mark.slow
def test_what_is_lost_in_short(tmp_path: Path) -> None:
    """Levels rise with what is seen up to the optimum; of its level a learner is short by what the second table says."""
    program = str(REPOSITORY / "experiments" / "lost.py")
    settings = ("--systems", "epidemic", "--methods", "additive", "--seeds", "2", "--steps", "200", "--out", "out")
    done = script(program, *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("|")]
    best = {row[1]: float(row[2]) for row in cells if row[0] == "best policy"}
    assert best == {"own state": 0.61, "1 hop": 1.0, "2 hops": 1.0}  # (-.1609 and -.0445 of -.3392 to -.0445)
    (score,) = json.loads((out / "results.json").read_text())["systems"]["epidemic"]["methods"].values()
    shares, short = (row[1:] for row in cells if row[0] == "`additive`")
    assert shares[0] == short[0] == score["sees"] == "own state"
    assert float(shares[1].split()[0]) == pytest.approx(score["share"], abs=0.0051)
    assert float(short[1]) == pytest.approx(0.61 - score["share"], abs=0.0101)
    kept = [path.stat().st_mtime_ns for path in sorted(out.glob("epidemic/**/*.json"))]
    assert script(program, *settings, cwd=tmp_path).stdout == done.stdout
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("epidemic/**/*.json"))] == kept


@pytest.mark.slow
def test_the_suite_in_short(tmp_path: Path) -> None:
    """Two networks, one of them with scores of another program beside: shares and their middle half are recomputed."""
    program = str(REPOSITORY / "experiments" / "suite.py")
    given = tmp_path / "theirs" / "epidemic_ring-6"
    given.mkdir(parents=True)
    for k, reward in enumerate((-0.3392, -0.0445)):
        told = {"algorithm": "ippo", "average_reward": reward}
        (given / f"{k}.json").write_text(json.dumps(told), encoding="utf-8")
    settings = ("--systems", "epidemic ring:6,firefighters 6", "--methods", "recommended", "--seeds", "2", "--steps", "200")
    done = script(program, *settings, "--beside", "theirs", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")
    networks = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["networks"]
    assert networks["epidemic ring:6"]["reference"] == ["optimum", pytest.approx(-0.0445, abs=1e-4)]
    assert networks["epidemic ring:6"]["shares"]["BenchMARL ippo"] == pytest.approx([0.0, 1.0], abs=1e-3)
    assert "BenchMARL ippo" not in networks["firefighters 6"]["shares"]
    runs = []
    for network, found in networks.items():
        folder = tmp_path / "out" / network.replace(" ", "_").replace(":", "-")
        scores = json.loads((folder / "recommended" / "summary.json").read_text(encoding="utf-8"))["eval_average_reward"]
        uniform, best = found["references"]["uniform"], found["reference"][1]
        shares = [(score - uniform) / (best - uniform) for score in scores]
        assert found["shares"]["recommended"] == pytest.approx(shares)
        runs += shares
    middle = sum(sorted(runs)[1:3]) / 2
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `recommended` |")]
    assert f"| {middle:.3f} (" in row


@pytest.mark.slow
def test_the_references_of_the_suite_are_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network has one, of the environment that its words make; another environment would be found anew."""
    monkeypatch.syspath_prepend(REPOSITORY / "experiments")
    study = program("suite")
    assert {path.stem for path in study.KEPT.iterdir()} == {study.folder(network) for network in study.NETWORKS}
    for network in study.NETWORKS:
        assert (known := study.kept(network)) is not None
        assert known.reference[1] > known.uniform
    monkeypatch.setitem(study.NETWORKS, "epidemic ring:6", ["env=epidemic", "env.graph=ring:6", "env.infection=0.5"])
    assert study.kept("epidemic ring:6") is None


def test_local_policies_are_held_against_known_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model of each kind: the table, the numbers, and a sentence and exit code 1 for an answer that is another."""
    study, soft, kl = program("local_policies"), "random tables, e = .3, seed 0", "epidemic"
    command = ["--out", str(tmp_path)]
    monkeypatch.setattr(study, "SWEEPS", 2)
    monkeypatch.setattr(study, "SOFT", {soft: study.SOFT[soft]})
    monkeypatch.setattr(study, "KL", {kl: study.KL[kl]._replace(ends=("-.2595",))})  # after 2 sweeps
    assert study.main(command) == 0
    told = capsys.readouterr()
    assert f"| {soft} | gap, kappa = 0 | 0.003632 | 3.6e-3 | +0.88 % | 7 | 7 |" in told.out
    assert "J never fell in 12 block steps" in told.out
    assert told.err == ""
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == told.out.rpartition("\n0 of ")[0] + "\n"
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [row["what"] for row in rows[:3]] == ["soft optimum", "uniform", "gap, kappa = 0"]
    assert [row["model"] for row in rows] == 6 * [soft] + 2 * [kl]
    wrong = study.SOFT[soft]._replace(gaps=("3.9e-3", "< 2.1e-5"))
    monkeypatch.setattr(study, "SOFT", {soft: wrong})
    assert study.main([*command, "--improvement", "soft"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"local_policies: {soft}, gap, kappa = 0: 0.00363")
    assert said[0].endswith("is -0.00027 from the known 3.9e-3, more than 0.00019")
    assert said[1] == f"local_policies: {soft}, gap, kappa = 1: 2.229e-05 is not below 2.1e-5"
    monkeypatch.setattr(study, "fallen", lambda values: 1)
    assert study.main([*command, "--improvement", "kl"]) == 1
    assert capsys.readouterr().err == "local_policies: epidemic, kappa = 0: J fell in 1 of 12 block steps\n"


def test_the_phases_that_are_timed_are_those_of_the_kernel() -> None:
    """Each is one piece of the code, the first of it, and none overlaps another."""
    phases, kernels = program("phases", "benchmarks"), REPOSITORY / "marl" / "kernels"
    twice: dict[str, str] = {}
    for file, start, end in phases.PHASES.values():
        source = (kernels / file).read_text(encoding="utf-8")
        longer = phases.repeated(source, start, end)
        twice[file] = phases.repeated(twice.get(file, source), start, end)
        assert 0 < len(longer) - len(source) < len(source) // 10
    for file, source in twice.items():
        compile(source, file, "exec")


@pytest.mark.slow
def test_start_tells_what_follows_what(tmp_path: Path) -> None:
    done = script(str(REPOSITORY / "benchmarks" / "start.py"), "--repeats", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = {name: column["s"] for name, column in json.loads(done.stdout).items()}
    assert 0.0 < told["help"] < told["torch"]
    assert 0.0 < told["train, first step"] <= told["train, end"] <= told["train, process"]


@pytest.mark.slow
def test_batches_prints_one_json_line_per_setting(tmp_path: Path) -> None:
    program = str(REPOSITORY / "benchmarks" / "batches.py")
    done = script(program, "--repeats", "1", "--seconds", "0.01", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({(line["rollout"], line["replicas"]) for line in lines}) == len(lines) >= 5
    for line in lines:
        assert line["replica_ratio"] == pytest.approx(line["ratio"] * line["replicas"], rel=0.1, abs=0.1)


@pytest.mark.slow
def test_systems_are_timed_beside_wireless(tmp_path: Path) -> None:
    program = str(REPOSITORY / "benchmarks" / "systems.py")
    done = script(program, "--repeats", "1", "--agent-steps", "40000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({(line["system"], line["agents"]) for line in lines}) == len(lines) == 22
    assert {line["agents"] for line in lines} == {25, 10_000}
    for line in lines:
        assert 0.0 < line["ratio"] == line["lowest"] == line["highest"]
        assert line["ratio"] == pytest.approx(line["nanoseconds"] / line["wireless"], rel=0.05, abs=0.05)
