"""Self-supervised pretraining as one idea: an energy F(x, y), low when y is a compatible completion of x."""

__version__ = "0.1.0"
