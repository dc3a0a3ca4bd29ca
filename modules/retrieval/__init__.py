"""Which report a study is given, in training and in test."""
