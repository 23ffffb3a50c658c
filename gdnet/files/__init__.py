"""Model files and checkpoints: safe to read, whole on disk or not there."""
