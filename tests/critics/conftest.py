"""A network small enough that a dense table of its joint pairs is tiny."""

import pytest

from marl.envs import WirelessAccess


@pytest.fixture
def mixed() -> WirelessAccess:
    """Three users on a line with 7, 4 and 7 pairs: 252 joint pairs at kappa = 1."""
    return WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[2, 1, 2], arrival=0.8, instance_seed=5)
