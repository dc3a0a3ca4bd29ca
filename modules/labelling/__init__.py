"""From report text to labels and entity mentions."""
