"""ygg: the dispatcher in front of the GPU machines you own."""

__version__ = "0.1.0"
