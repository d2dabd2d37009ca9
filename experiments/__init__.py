if not __name__.startswith("worldsim."):
    raise ImportError(f'import "worldsim.experiments", not "{__name__}": a second copy of its classes would not be the same classes')
