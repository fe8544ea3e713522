"""Options whose whole effect is in the log."""

from __future__ import annotations

import pytest

from tests.servers import Servers, answer, fetch, local

CONNECT = "unable to connect() to node"


@pytest.mark.parametrize("quiet", [False, True])
def test_fastrouter_quiet(servers: Servers, quiet: bool) -> None:
    """It spares the worker's line for a failed connect; that the request failed is still told, and the mark."""
    dead = local()
    arguments = ["--fastrouter-quiet"] if quiet else []
    router = servers.router("--fastrouter", local(), "--fastrouter-to", dead, *arguments)
    assert fetch(router.address).status == 502
    log = router.wait_for_log("request failed: 502 connect-failed")
    assert (CONNECT in log) is not quiet
    assert dead in router.wait_for_log("as failed")


def test_fastrouter_subscription_slot_does_nothing_and_says_so(servers: Servers) -> None:
    node = servers.node(answer())
    slot = servers.path("slot")
    router = servers.router(
        "--fastrouter", local(), "--fastrouter-to", node.address, "--fastrouter-subscription-slot", slot
    )
    assert fetch(router.address).status == 200
    assert "fastrouter-subscription-slot is deprecated" in router.log()
    assert "slot" not in {path.name for path in servers.directory.iterdir()}
