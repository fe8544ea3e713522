"""Calls of the module ``uwsgi``, run as they stand here by uWSGI itself and by the router, and what each came to.

This file is a script for both: it writes a list of texts to ``results.json`` in the working directory.
"""

import builtins
import json

import uwsgi

CALLS = """
cache_set('a', '1')
cache_set('a', '2')
cache_get('a')
cache_get(b'a')
cache_update('a', b'3')
cache_get('a', '')
cache_get('nothing')
cache_exists('a')
cache_exists(b'nothing')
cache_del('a')
cache_del('a')
cache_set('', 'v')
cache_set('k', '')
cache_set('k', 'v' * 65536)
cache_set('l', 'v' * 65537)
cache_update('l', 'v' * 65537)
cache_set('m' * 2048, 'v')
cache_set('n' * 2049, 'v')
cache_set('\\u00e9', '\\u00e9')
cache_get('\\u00e9')
cache_get('\\u00e9'.encode())
cache_set('e', 'v', 100, 'two')
cache_get('e')
cache_get('e', 'two')
cache_set('e', 'v', 0, 'nosuch')
cache_get('e', 'nosuch')
cache_exists('e', 'nosuch')
cache_del('e', 'nosuch')
cache_clear('nosuch')
cache_keys('nosuch')
cache_keys('two')
cache_inc('i')
cache_inc('i', 5)
cache_dec('i', 2)
cache_num('i')
cache_mul('i')
cache_mul('i', 3)
cache_num('i')
cache_div('i')
cache_div('i', -5)
cache_num('i')
cache_get('i')
cache_div('i', 0)
cache_num('i')
cache_dec('j')
cache_num('j')
cache_mul('j', 2, 0, 'two')
cache_num('j', 'two')
cache_num('nothing')
cache_inc('j', 9223372036854775807, 0, 'two')
cache_inc('j', 1, 0, 'two')
cache_num('j', 'two')
cache_set('x', 'v', -1)
cache_get('x')
cache_clear('two')
cache_keys('two')
cache_set(1, 'v')
cache_set('k', 1)
cache_set('k')
cache_set('k', 'v', '1')
cache_get(None)
cache_inc('k', 'x')
cache_set(key='k', value='v')
cache_set('r', 'v', 0, 'two')
cache_get()
cache_set('k', 'v', 1 << 70)
register_rpc('hello', lambda *words: b'hi:' + b','.join(words))
register_rpc('broken', lambda: 1 / 0)
register_rpc('text', lambda: 'text')
register_rpc('nothing', lambda: None)
register_rpc('empty', lambda: b'')
rpc_list()
call(b'hello', b'a', b'b')
call(b'hello')
rpc(None, b'hello', b'x')
rpc(b'', b'hello', b'x')
call(b'broken')
call(b'text')
call(b'nothing')
call(b'empty')
call(b'unknown')
log('a line')
log(1)
log(b'bytes')
worker_id()
lock()
is_locked()
unlock()
is_locked()
unlock()
lock(1)
opt['cache']
opt['cache2']
opt['master']
opt['foo']
opt['fastrouter']
opt['fastrouter-use-cache']
type(version), type(version_info), len(version_info)
version_info[:2]
type(hostname)
type(masterpid()) is int and masterpid() > 1
type(started_on), type(micros())
type(magic_table), magic_table[b'%'], sorted(magic_table)
applications
is_a_reload
no_such_name
""".strip().splitlines()


class _Names(dict):
    """The module's names as globals of the calls."""

    def __missing__(self, name):
        return getattr(builtins, name) if hasattr(builtins, name) else getattr(uwsgi, name)


def result(call):
    """What a call comes to: its value, or the sort of its error."""
    try:
        return repr(eval(call, {"uwsgi": uwsgi}, _Names()))
    except Exception as error:  # noqa: BLE001 - the error is the result
        return type(error).__name__


with open("results.json", "w") as file:
    json.dump([result(call) for call in CALLS], file)
