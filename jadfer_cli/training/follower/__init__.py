"""Trains the network that follows faces between searches of the whole frame."""
