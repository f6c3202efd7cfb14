"""Training and evaluation of the JADFER network."""
