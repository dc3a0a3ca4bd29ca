"""Several processes and their signals: started, watched, stopped and ended together."""
