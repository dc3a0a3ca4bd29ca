"""What is only there to be fast on a GPU."""
