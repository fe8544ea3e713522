"""The scripts of a router: the module ``uwsgi`` that they import, and how they are run."""
