"""The claims of docs/physics.md put to the test in the drop world: what is trained, what is measured, and what was found."""
