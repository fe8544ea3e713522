"""Finding nodes in the configuration: the same ones whatever the key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import put, table
from uwsgirouter.mappers.static import StaticMapper
from uwsgirouter.model.table import STATIC_KEY


@given(st.binary(min_size=1, max_size=20))
def test_every_key_has_the_configured_nodes(key: bytes) -> None:
    routes = table(put(0, STATIC_KEY), put(1, b"foo.com"), put(2, key))
    slot = StaticMapper(routes).find(key)
    assert slot is not None
    assert [node.id for node in slot.nodes] == [0]


def test_none_configured_none_found() -> None:
    routes = table(put(1, b"foo.com"))
    mapper = StaticMapper(routes)
    assert mapper.find(b"foo.com") is None
    routes.apply(put(0, STATIC_KEY))
    assert mapper.find(b"foo.com") is routes.slots[STATIC_KEY]
