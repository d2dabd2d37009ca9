"""Gymnasium environments over world models, and the true worlds. Importing this registers ids; it loads no torch and no MuJoCo."""

if not __name__.startswith("worldsim."):
    raise ImportError(f'import "worldsim.envs", not "{__name__}": a second copy of its classes would not be the same classes')

from gymnasium import register  # noqa: E402  (the guard above comes first)

_WORLD = {"entry_point": "worldsim.envs.world_env:WorldEnv", "vector_entry_point": "worldsim.envs.world_vector_env:WorldVectorEnv"}

register("worldsim/World-v0", **_WORLD)
register("worldsim/Drawer-v0", **_WORLD, kwargs={"world_model": "drawer", "task": "drawer"})
register("worldsim/DrawerTruth-v0", entry_point="worldsim.envs.drawer.env:DrawerTruthEnv")
register("worldsim/TableTruth-v0", entry_point="worldsim.envs.table.env:TableTruthEnv")
register("worldsim/DropTruth-v0", entry_point="worldsim.envs.drop.env:DropTruthEnv")
