"""The figures: each from numbers of single studies."""
