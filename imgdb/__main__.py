"""`python -m imgdb`: the command line."""

from imgdb.cli import main

if __name__ == "__main__":
    main()
