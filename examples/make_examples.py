"""Make the example pictures: `python examples/make_examples.py [FOLDER]` (default: this folder)."""

import argparse
from pathlib import Path

from painting.pictures import make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
