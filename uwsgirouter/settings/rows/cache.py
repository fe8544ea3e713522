"""Options of the named caches, and of the scripts that fill them."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "cache",
        "cache",
        Type.INT,
        "make a cache named default with room for this many items",
        unit="items",
        low=1,
        high=100_000_000,
    ),
    Option(
        "cache2",
        "cache",
        Type.TEXT,
        "make a named cache: name=NAME,items=NUMBER and more keys (docs/caches.md lists them), such as "
        "blocksize=BYTES, store=FILE, purge_lru=1; or name=NAME,url=redis://HOST for one that several routers share",
        repeatable=True,
    ),
    Option(
        "cache-stale",
        "cache",
        Type.SECONDS,
        "when the Redis server of a cache (cache2 with url=) is away, look-ups find what they found at most so long "
        "ago; 0: nothing",
        unit="seconds",
        low=0,
        high=86400,
        default="300",
    ),
    Option(
        "cache-blocksize",
        "cache",
        Type.INT,
        "most bytes of a value in the cache of the cache option",
        unit="bytes",
        low=1,
        high=1 << 30,
        default="65536",
    ),
    Option(
        "cache-store",
        "cache",
        Type.PATH,
        "keep the cache of the cache option in this file, so that it lasts over restarts",
    ),
    Option(
        "cache-store-sync",
        "cache",
        Type.INT,
        "write stored caches to the disk every so often; 0: when the kernel likes",
        unit="seconds",
        low=0,
        default="0",
    ),
    Option(
        "cache-no-expire",
        "cache",
        Type.BOOL,
        "do not sweep expired items out (they are still not found)",
        default="false",
    ),
    Option(
        "cache-expire-freq",
        "cache",
        Type.INT,
        "how often expired items are swept out",
        unit="seconds",
        low=1,
        default="3",
    ),
    Option(
        "cache-report-freed-items",
        "cache",
        Type.BOOL,
        "log how many items each sweep removed",
        default="false",
    ),
    Option(
        "cache-use-last-modified",
        "cache",
        Type.BOOL,
        "keep the time of the last change of the cache of the cache option; uwsgirouterctl cache stats shows it",
        default="false",
    ),
    Option(
        "add-cache-item",
        "cache",
        Type.TEXT,
        "put an item into a cache (without a name: into each) at start and at each reload: [CACHE ]KEY=VALUE",
        repeatable=True,
    ),
    Option(
        "load-file-in-cache",
        "cache",
        Type.TEXT,
        "put a file's content into a cache (without a name: into each) at start and at each reload, under its path as "
        "written: [CACHE ]FILE",
        repeatable=True,
    ),
    Option(
        "load-file-in-cache-gzip",
        "cache",
        Type.TEXT,
        "the same, compressed with gzip",
        repeatable=True,
    ),
    Option(
        "file",
        "cache",
        Type.PATH,
        "run this Python script at start and at each reload; its module uwsgi has the caches",
        repeatable=True,
    ),
    Option(
        "import",
        "cache",
        Type.TEXT,
        "import this Python module (or run this file) at start and at each reload, as with file; and in every worker "
        "when rules call functions of scripts",
        aliases=("pyimport", "py-import", "python-import"),
        repeatable=True,
    ),
    Option(
        "shared-import",
        "cache",
        Type.TEXT,
        "the same, and in every worker when fastrouter-use-code-string is used, too",
        aliases=("pyshared-import", "py-shared-import", "python-shared-import"),
        repeatable=True,
    ),
)
