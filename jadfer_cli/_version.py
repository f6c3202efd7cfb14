"""The version, in a module of its own so that nothing has to import the package's face."""

__version__ = "0.5.0"
