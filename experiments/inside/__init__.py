"""Reinforcement learning inside a world model (`worldsim train-policy algorithm=ppo`), guarded against exploiting the model."""
