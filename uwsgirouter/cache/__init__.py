"""Named caches that all processes of one machine share, on LMDB. The only importer of lmdb."""
