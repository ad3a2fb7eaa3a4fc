"""Starting: quick, without torch before it is needed, and with help for every command."""

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import yaml

from marl import build
from marl.cli import COMMANDS
from marl.cli.help import conf_dir
from marl.cli.train import compose
from marl.runs.settings import KEYS
from tests.cli.command import Marl

HEAVY = ("torch", "hydra", "omegaconf", "numba", "numpy", "networkx", "tensorboard", "matplotlib")
REPOSITORY = Path(__file__).parents[2]


def process(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, with this checkout's marl."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evaluate", "--help"], [], ["fly"]], ids=str)
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    program = (
        f"import sys; sys.argv = {['marl', *arguments]}; from marl.cli import main; main(); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    assert process(sys.executable, "-c", program, cwd=tmp_path).stderr.splitlines()[-1] == "[]"


def test_help_is_quick(tmp_path: Path) -> None:
    """A tenth of a second where it was measured; importing torch alone takes two."""
    start = time.perf_counter()
    process(sys.executable, "-m", "marl", "--help", cwd=tmp_path)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_compiled_run_does_without_the_compiler_of_torch(tmp_path: Path, engine: str) -> None:
    """It comes with torch's first optimizer and takes a second or more. Autograd shows that it would be seen."""
    program = (
        f"import sys; sys.argv = ['marl', 'train', 'trainer.engine={engine}', 'steps=5', 'eval.steps=20', 'env.rows=2']; "
        "from marl.cli import main; assert main() == 0; print('torch._dynamo' in sys.modules)"
    )
    assert process(sys.executable, "-c", program, cwd=tmp_path).stdout.splitlines()[-1] == str(engine == "autograd")


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_the_second_start_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, replicas: int
) -> None:
    """Not even for another kappa, network or step size: what a kernel is compiled for is on disk."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBA_DEBUG_CACHE", "1")
    settings = [sys.executable, "-m", "marl", "train", "steps=5", "eval.steps=20", "logger=none", "critic.storage=hash"]
    settings += [f"replicas={replicas}"]
    first = process(*settings, "env.rows=3", "env.cols=3", "hydra.run.dir=one", cwd=tmp_path)
    again = process(*settings, "env.rows=4", "critic.kappa=1", "hydra.run.dir=two", cwd=tmp_path)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "engine: fused" in first.stderr
    saved, loaded = "[cache] data saved", "[cache] data loaded"
    how = "" if min(replicas, cores) == 2 else "_in_turn"
    assert any(saved in line and f"actor_critic.advance{how}-" in line for line in first.stdout.splitlines())
    assert saved not in again.stdout
    for kernel in ("actor_critic.advance", "rollout.rollout"):
        assert any(loaded in line and f"{kernel}{how}-" in line for line in again.stdout.splitlines())


@pytest.mark.parametrize(
    "command",
    [[sys.executable, "-m", "marl"], [str(Path(sysconfig.get_path("scripts")) / "marl")]],
    ids=["python -m", "marl"],
)
def test_both_ways_to_start(tmp_path: Path, command: list[str]) -> None:
    good, bad = process(*command, "--help", cwd=tmp_path), process(*command, "train", "steps=0", cwd=tmp_path)
    assert good.returncode == 0
    assert good.stdout.startswith("usage: marl COMMAND")
    assert bad.returncode == 2
    assert bad.stderr == "marl: steps must be a whole number of at least 1, got 0\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(marl: Marl, command: str, flag: str) -> None:
    outcome = marl(command, flag)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"usage: marl {command}")
    assert f"marl {command} " in marl("--help").out


def test_help_lists_every_key_and_option(marl: Marl) -> None:
    words = marl("train", "--help").out
    for key in KEYS:
        assert key in words
    for part in build.PARTS:
        assert f"{part}.*" in words
        options = ", ".join(sorted(path.stem for path in (conf_dir() / part).glob("*.yaml")))
        assert f"{part}: {options}" in words


def test_the_configuration_can_be_printed(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("train", "--cfg", "job", "env.rows=7")
    assert outcome.code == 0
    printed = yaml.safe_load(outcome.out)
    printed.pop("experiment", None)
    assert printed == compose(["env.rows=7"])
    assert list(tmp_path.iterdir()) == []
