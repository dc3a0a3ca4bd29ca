"""Trained weights on disk: their layouts, their checks, their conversion."""
