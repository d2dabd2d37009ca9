"""Post-training of a world model with feedback: rollouts are sampled, judged against what really happened, and learned from."""
