"""`python -m bittygpt`, and with it `torchrun … -m bittygpt`."""

from bittygpt.cli import main

if __name__ == "__main__":
    main()
