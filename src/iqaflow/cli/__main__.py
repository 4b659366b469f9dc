"""`python -m iqaflow.cli`."""

from iqaflow.cli import main

main()
