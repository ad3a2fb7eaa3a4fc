"""A sweep of twelve in which one diverges, one is misconfigured and one is killed."""

from pathlib import Path

from tests.cli.command import SMALL, Marl, summary_of

TROUBLE = '''
import os
import signal
from pathlib import Path

import marl


class Trouble(marl.WirelessAccess):
    """The wireless network, but for number 3, 7 and 9."""

    def __init__(self, number, **rest):
        super().__init__(**rest)
        self.number = number
        if number == 3:
            raise marl.ConfigError("number 3 is misconfigured")

    def _step(self, s, a, u):
        if self.number == 7 and Path("bomb").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        s, r = super()._step(s, a, u)
        return s, r / 0.0 if self.number == 9 else r
'''
SWEEP = ("train", "-m", "env._target_=trouble.Trouble", "+env.number=range(12)", *SMALL, "logger=none")


def test_nine_finish_and_three_are_named(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "trouble.py").write_text(TROUBLE)
    (tmp_path / "bomb").touch()
    outcome = marl(*SWEEP)
    summaries = {path.parent: summary_of(path.parent) for path in tmp_path.rglob("summary.json")}
    finished = [run for run, summary in summaries.items() if summary["status"] == "finished"]
    assert len(finished) == 9
    assert outcome.code == 2  # that of the first, which was misconfigured
    head, *lines = outcome.err.splitlines()
    assert head == "12 jobs: 9 finished, 3 not"
    assert len(lines) == 3
    for line, number, why in zip(
        lines, (3, 7, 9), ("number 3 is misconfigured", "signal 9", "diverged at step"), strict=True
    ):
        assert f"env.number={number} " in line
        assert why in line
    before = {run: (run / "metrics.npz").stat().st_mtime_ns for run in finished}

    (tmp_path / "bomb").unlink()
    again = marl(*SWEEP)
    assert again.err.splitlines()[0] == "12 jobs: 10 finished, 2 not"
    assert before == {run: (run / "metrics.npz").stat().st_mtime_ns for run in finished}  # only what was missing ran


def test_an_error_nobody_expected_is_in_the_log_of_its_job(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "trouble.py").write_text(TROUBLE.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise KeyError('bug')"))
    (tmp_path / "bomb").touch()
    outcome = marl(*(text.replace("range(12)", "6,7") for text in SWEEP))
    assert outcome.code == 1
    assert "KeyError: 'bug'" in outcome.err
    assert "Traceback" not in outcome.err
    (log,) = (path for path in tmp_path.rglob("train.log") if "number=7" in str(path))
    assert "Traceback" in log.read_text()
    assert "in _step" in log.read_text()
