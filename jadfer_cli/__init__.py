"""jadfer annotates facial expressions in video."""

__version__ = "0.1.0"
