"""From face crops to calibrated expression probabilities: the JADFER network and its weights."""
