"""`python -m iqaflow.cli`."""

from iqaflow.cli import main

if __name__ == "__main__":
    main()
