"""What is built once, before training."""
