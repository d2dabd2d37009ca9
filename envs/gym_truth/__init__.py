"""Any Gymnasium environment as a true world. Importing this loads no environment."""
