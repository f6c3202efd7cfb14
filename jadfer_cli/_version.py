"""The version, in a module of its own so that no other module has to import the public API."""

__version__ = "0.6.0"
