"""The installation itself: models and their download, doctor, self-test, benchmark."""
