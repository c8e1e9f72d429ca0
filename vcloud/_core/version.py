"""The version of the package. Also read by hatch, as text."""

__version__ = "0.1.0"
