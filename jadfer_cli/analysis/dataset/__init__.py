"""Many results as one dataset: checked first, then written as a stream."""
