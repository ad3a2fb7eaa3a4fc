"""x."""
from marl.envs.epidemic.env import Epidemic
