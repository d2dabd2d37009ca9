"""A person at the controls of an imagined world: what is pressed, the frames that came of it, and the page where that happens."""
