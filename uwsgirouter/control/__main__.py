"""``python -m uwsgirouter.control``: the same as the ``uwsgirouterctl`` command."""

from uwsgirouter.control.main import main

if __name__ == "__main__":
    main()
