"""Environments."""

from marl.envs.wireless import WirelessAccess

__all__ = ["WirelessAccess"]
