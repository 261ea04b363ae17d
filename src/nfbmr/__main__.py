"""`python -m nfbmr`: the command line."""

from __future__ import annotations

from nfbmr.cli.app import main

if __name__ == "__main__":
    main()
