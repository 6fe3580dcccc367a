"""`python -m parley` is the same as the command `parley`."""

from parley.cli import main

main()
