"""`python -m bff`: the same as the `bff` command."""

from bff.cli import main

if __name__ == "__main__":
    main()
