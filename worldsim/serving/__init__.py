"""Pages that a command serves to one browser of this machine."""
