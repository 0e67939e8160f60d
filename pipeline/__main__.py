"""`python -m pipeline [overrides]`: the same as `simmesh run [overrides]`."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
