"""Judges that show frames to a vision-language model and read its answer. Importing this registers them and loads no network package."""

from worldsim.verifiers.vlm import local, remote  # noqa: F401
