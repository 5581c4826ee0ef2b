"""`python -m mmssl`, for launchers that start a module."""

from mmssl.cli import main

main()
