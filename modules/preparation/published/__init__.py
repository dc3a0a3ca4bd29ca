"""The published REVTAF files, read and written."""
