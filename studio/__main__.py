"""`python -m studio`: the command line. See cli.py."""

import gc

from studio.cli import main

if __name__ == "__main__":
    code = main()
    # The interpreter looks through all objects once more before it ends, which took a quarter of a second.
    gc.freeze()
    raise SystemExit(code)
