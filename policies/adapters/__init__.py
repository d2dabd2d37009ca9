"""Adapters: what may stand between a policy and a world. Each wraps a policy and says anew what its actions mean. They load no torch."""

from worldsim.policies.adapters import bounds, chunk, components, gripper, rate, rotation  # noqa: F401
