"""The training loop, its step, checkpoints, and runs in several processes."""
