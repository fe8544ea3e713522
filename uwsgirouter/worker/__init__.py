"""The worker: one gevent hub that accepts, routes and relays. The only package that imports gevent."""
