"""Small programs beside the main job, which are started by their path."""
