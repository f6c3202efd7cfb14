"""One dataset of many results: which results fit together, and writing them. No statistics."""
