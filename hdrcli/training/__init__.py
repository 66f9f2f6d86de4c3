"""Training: scenes, virtual photos, objectives, the loop, checkpoints, export."""
