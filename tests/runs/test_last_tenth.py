"""The last tenth of a run is the same steps wherever it is asked for."""

import numpy as np
import pytest

from marl.runs.last_tenth import LastTenth, last_tenth_begins, last_tenth_mean


@pytest.mark.parametrize(("steps", "start"), [(1, 0), (5, 4), (9, 8), (10, 9), (19, 18), (25, 23), (1009, 909)])
def test_it_is_a_whole_number_of_steps_and_at_least_one(steps: int, start: int) -> None:
    assert last_tenth_begins(steps) == LastTenth(steps).start == start
    step = np.arange(1, steps + 1)
    assert last_tenth_mean(step, step) == pytest.approx(np.mean(range(start + 1, steps + 1)))


@pytest.mark.parametrize("every", [1, 7, 60, 100])
def test_a_metric_is_averaged_over_the_log_points_in_it(every: int) -> None:
    """There always is one: what was logged ends with a log point."""
    step = np.arange(every, 101, every)
    values = np.random.default_rng(0).random((len(step), 3))
    late = [row for k, row in zip(step, values, strict=True) if k > last_tenth_begins(int(step[-1]))]
    np.testing.assert_allclose(last_tenth_mean(step, values), np.mean(late, axis=0))
