"""Policies behind a network, and our own policies served. Importing this registers the wires by name and loads no network package."""

from worldsim.policies.remote import gr00t, openpi, rest, roboarena, vla_eval  # noqa: F401
