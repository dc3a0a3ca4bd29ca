"""One file for each claim of speed; each prints its ratio."""
