"""`FusedStep` is found here, too, by steps that were compiled for earlier versions; its place is `marl.FusedStep`."""

from marl.kernels.arguments import FusedStep

__all__ = ["FusedStep"]
