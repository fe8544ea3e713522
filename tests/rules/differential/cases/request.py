"""What the application sees: variables, rewriting, numbers."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import MATHS, NO_HTTP, NUL, logged

case("addvar", "route = ^/(.*) addvar:FOOVAR=prefix$1suffix", ask("/me"), ask("/"))
case("addvar-equals", "route-run = addvar:A=b=c\nroute-run = addvar:B=\nroute-run = log:{log}[${A}][${B}]")
case("addvar-twice", "route-run = addvar:A=1\nroute-run = addvar:A=${A}2\nroute-run = log:{log}${A}")
case("addvar-spaces", "route-run = addvar: X = v\nroute-run = log:{log}[${X}][${ X }]")
case("addvar-http", "route-run = addvar:HTTP_X_ADDED=1\nroute-run = addvar:HTTP_HOST=other")
case("addvar-names", "route-run = addvar:${PATH_INFO}=1\nroute-run = addvar:$1=2\nroute-run = log:{log}[${PATH_INFO}]")
case("addvar-bytes", "route-run = addvar:A=${HTTP_X}", ask(v={"HTTP_X": b"\xff\xc3\xa9\x01"}))
case("addvar-query", "route-run = addvar:QUERY_STRING=changed\nroute-run = log:{log}[${qs[a]}]", ask("/?a=1"))
case("addvar-method", "route-run = addvar:REQUEST_METHOD=PUT")
case("addvar-length", "route-run = addvar:CONTENT_LENGTH=2", ask(method="POST", body=b"hello"))

case("setapp", "route-run = setapp:nowhere", ask(), ask(v={"SCRIPT_NAME": "/s"}))
case(
    "setuser",
    "route-run = setuser:me\nroute-remote-user = (.*) log:{log}$1 ${REMOTE_USER}",
    ask(),
    ask(v={"REMOTE_USER": "x"}),
)
case("setuser-colon", "route-run = setuser:me:secret\nroute-run = log:{log}${REMOTE_USER}")
case("setuser-empty", "route-run = setuser:")
case("sethome", "route-run = sethome:/some/where")
case(
    "setfile",
    "route-run = setfile:/some/file.py",
    differs=Differs(
        "setfile sets UWSGI_FILE (UWSGI_HOME)", variables={"UWSGI_HOME": None, "UWSGI_FILE": "/some/file.py"}
    ),
)
case("setscriptname", "route-run = setscriptname:/mounted", ask("/mounted/x"))
case(
    "setmethod",
    "route-run = setmethod:PUT\nroute-run = log:{log}${REQUEST_METHOD}",
    ask(),
    ask(method="POST", body=b"ab"),
)
case("seturi", "route-run = seturi:/other?x=1\nroute-uri = (.*) log:{log}$1", ask("/a?b"))
case("seturi-odd", "route-run = seturi:/a/../b//%%2e#f")
case("setremoteaddr", "route-run = setremoteaddr:10.9.8.7\nroute-remote-addr = ^10 log:{log}ten", ask())
case("setpathinfo", "route-run = setpathinfo:/other\nroute = ^/other log:{log}other", ask("/a?b"))
case("setpathinfo-query", "route-run = setpathinfo:/other?x=1")
case("setpathinfo-escape", "route = ^/(.*) setpathinfo:/%%41/../$1", ask("/x"))
case("setpathinfo-empty", "route-run = setpathinfo:")
case(
    "fixpathinfo",
    "route-run = fixpathinfo:\nroute-run = log:{log}${PATH_INFO}",
    ask("/s/x", v={"SCRIPT_NAME": "/s"}),
    ask("/s/x"),
    ask("/s", v={"SCRIPT_NAME": "/s"}),
)
case("fixpathinfo-other", "route-run = fixpathinfo:", ask("/other/x", v={"SCRIPT_NAME": "/s"}))
case("scriptname-then-fix", "route-run = setscriptname:/foo\nroute-run = fixpathinfo:", ask("/foo/bar"))
case("setdocroot", "route-run = setdocroot:/var/www/${HTTP_HOST}")
case("setscheme", "route-run = setscheme:https", ask(), ask(v={"HTTPS": "off"}))
case("scheme-https", "route-run = log:{log}${HTTPS}", ask(v={"HTTPS": "on"}), ask(v={"UWSGI_SCHEME": "https"}))
case("chdir", "route-run = chdir:{root}\nroute-if = exists:a.txt log:{log}there")
case("chdir-missing", "route-run = chdir:{root}/nowhere\nroute-run = log:{log}after")
case(
    "setmodifier1",
    "route-run = setmodifier1:100\nroute-run = log:{log}after",
    differs=Differs(NO_HTTP, cause="bad-answer"),
)
case("setmodifier1-unknown", "route-run = setmodifier1:250")
case("setmodifier2", "route-run = setmodifier2:7")
case("setmodifier1-back", "route-run = setmodifier1:100\nroute-run = setmodifier1:0")

REWRITES = {
    "plain": "/new",
    "query": "/new?x=1",
    "empty-query": "/new?",
    "escape": "/a%%20b%%41",
    "dots": "/a/../b/./c",
    "dots-out": "/../../etc/passwd",
    "slashes": "//a///b",
    "fragment": "/a#frag?x",
    "bad-escape": "/a%%zzb",
    "cut-escape": "/a%%4",
    "no-slash": "relative",
    "query-escape": "/n?a=%%41&b=/../c",
    "two-questions": "/n?a?b",
    "encoded-dots": "/a/%%2e%%2e/b",
    "empty": "",
    "plus": "/a+b",
    "trailing-dots": "/a/b/..",
    "trailing-dot": "/a/.",
    "dotfile": "/a/.hidden/..x",
}
for name, target in REWRITES.items():
    nul = {0: logged(NUL, "[/a\\x00b][y=2]"), 1: logged(NUL, "[/a\\x00b][]")} if name == "bad-escape" else None
    case(
        f"rewrite-{name}",
        f"route-run = rewrite:{target}\nroute-run = log:{{log}}[${{PATH_INFO}}][${{QUERY_STRING}}]",
        ask("/old?y=2"),
        ask("/old"),
        differs=nul,
    )
case("rewrite-group", "route-uri = ^/foo/(.*) rewrite:/index.php?page=$1.php", ask("/foo/bar?z=1"), ask("/other"))
case(
    "rewrite-manual", "route = \\.php$ rewrite:/index.php\nroute = ^/index log:{log}now index", ask("/a.php"), ask("/a")
)
case("rewrite-last", "route = ^/a rewrite-last:/b\nroute-run = log:{log}never for a", ask("/a?q"), ask("/c"))
case("rewrite-twice", "route-run = rewrite:/one?a=1\nroute-run = rewrite:/two?b=2", ask("/x?c=3"))
case("rewrite-no-query", "route-run = rewrite:/new", ask("/x", without=[b"QUERY_STRING"]))
case("rewrite-post", "route-run = rewrite:/new?x=1", ask("/x", method="POST", body=b"payload"))
case(
    "rewrite-captured",
    "route = ^/(.*)$ rewrite:/got/$1",
    ask("/a?b=c"),
    ask("/x", v={"PATH_INFO": "/q?z"}),
    ask("/x", v={"PATH_INFO": "/p%41#c"}),
)
case("rewrite-uri-of", "route-run = rewrite:${REQUEST_URI}", ask("/a%20b/../c?x=%41", v={"PATH_INFO": "/a b/../c"}))


def counted(result: str) -> Differs:
    """Another number."""
    return Differs(MATHS, log=[result], variables={"N": result})


RESULTS = {"divide": "5", "plus-text": "10", "plus-variable": "10", "plus-negative": "5"}
MATH = "route-run = addvar:N=10\nroute-run = {op}:N,{by}\nroute-run = log:{log}${N}"
for name, op, by in (
    ("plus", "+", "5"),
    ("minus", "-", "3"),
    ("times", "*", "4"),
    ("divide", "/", "2"),
    ("minus-below", "-", "30"),
    ("plus-text", "+", "abc"),
    ("plus-variable", "+", "${PATH_INFO}"),
    ("plus-negative", "+", "-5"),
    ("times-0", "*", "0"),
    ("divide-0", "/", "0"),
    ("plus-big", "+", "9223372036854775807"),
    ("plus-empty", "+", ""),
):
    case(
        f"math-{name}",
        MATH.replace("{op}", op).replace("{by}", by),
        differs=counted(RESULTS[name]) if name in RESULTS else None,
    )
case(
    "math-one",
    "route-run = addvar:N=10\nroute-run = +:N\nroute-run = log:{log}${N}\nroute-run = -:N\nroute-run = log:{log}${N}",
)
case("math-no-variable", "route-run = +:NOPE,1\nroute-run = log:{log}after")
case("math-text", "route-run = addvar:N=abc\nroute-run = +:N,1\nroute-run = log:{log}${N}", differs=counted("1"))
case("math-mixed", "route-run = addvar:N=12abc\nroute-run = +:N,1\nroute-run = log:{log}${N}", differs=counted("13"))
case(
    "math-length",
    "route-run = *:CONTENT_LENGTH,2\nroute-run = log:{log}${CONTENT_LENGTH}\nroute-run = addvar:CONTENT_LENGTH=5",
    ask(method="POST", body=b"12345"),
)
case("math-group", "route = ^/(\\d+) +:N,$1\nroute-run = log:{log}${N}", ask("/32", v={"N": "10"}))

for algo in ("djb33x", "murmur2"):
    case(
        f"hash-{algo}",
        f"route-run = hash:key=${{HTTP_X}},var=SERVER,items=a;b;c,algo={algo}\nroute-run = log:{{log}}${{SERVER}}",
        *(ask(v={"HTTP_X": text}) for text in ("one", "two", "three", "four", "", "\xff\xfe", "1234567890", "x" * 99)),
    )
case(
    "hash-default",
    "route-run = hash:key=${HTTP_X},var=SERVER,items=127.0.0.1:1;127.0.0.1:2\nroute-run = log:{log}${SERVER}",
    *(ask(v={"HTTP_X": text}) for text in ("one", "two", "three")),
)
case("hash-manual-key", "route-run = hash:key=${REMOTE_ADDR},var=S,items=only\nroute-run = log:{log}${S}")
case("many-variables", "route-run = addvar:A=1", ask(more=[(b"X%d" % number, b"v") for number in range(100)]))
case(
    "too-many-variables",
    "\n".join(f"route-run = addvar:V{number}=1" for number in range(140)) + "\nroute-run = log:{log}after",
    differs=Differs(
        "a request may have as many variables as fit (128); the node must take them", cause="node-closed", log=["after"]
    ),
)
case(
    "math-negative",
    "route-run = addvar:N=7\nroute-run = -:N,43\nroute-run = +:N,0\nroute-run = +:N,50\nroute-run = log:{log}${N}",
    differs=Differs("a negative number is read again as what it was", log=["14"], variables={"N": "14"}),
)
