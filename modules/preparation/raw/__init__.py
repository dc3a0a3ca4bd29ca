"""Raw files as data sets publish them become an annotation and images."""
