"""``python -m uwsgirouter``: the same as the ``uwsgirouter`` command."""

from uwsgirouter.cli import main

if __name__ == "__main__":
    main()
