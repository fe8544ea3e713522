"""Options of what rules use beside the request: files, alarms, metrics."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "honour-range",
        "routing",
        Type.BOOL,
        "static rules heed the Range header",
        default="false",
        aliases=("honor-range",),
    ),
    Option(
        "mime-file",
        "routing",
        Type.PATH,
        "types of files by their endings, in the format of /etc/mime.types, which is the default; without that file "
        "Python's own table counts",
        aliases=("mimefile",),
        repeatable=True,
    ),
    Option(
        "alarm",
        "routing",
        Type.TEXT,
        "what rules can raise with alarm:NAME TEXT: NAME log:[PREFIX], NAME cmd:COMMAND, NAME signal:NUMBER or NAME "
        "udp:HOST:PORT (docs/routing/services.md)",
        repeatable=True,
    ),
    Option(
        "alarm-freq",
        "routing",
        Type.INT,
        "the same text is not told again by the same alarm within this time",
        unit="seconds",
        low=0,
        default="3",
    ),
    Option(
        "alarm-msg-size",
        "routing",
        Type.INT,
        "most bytes of an alarm's text; what is longer is cut",
        unit="bytes",
        low=64,
        high=32768,
        default="8192",
    ),
    Option(
        "metric",
        "routing",
        Type.TEXT,
        "a number that rules count with, one for all workers: NAME, or name=NAME,initial_value=NUMBER",
        repeatable=True,
    ),
    Option(
        "metric-threshold",
        "routing",
        Type.TEXT,
        "raise an alarm when a rule makes a metric this large: key=NAME,value=NUMBER,alarm=NAME[,rate=SECONDS]"
        "[,reset=NUMBER][,msg=TEXT]",
        aliases=("metric-alarm", "alarm-metric"),
        repeatable=True,
    ),
    Option(
        "limit-keys",
        "routing",
        Type.INT,
        "keys (clients) that limit rules remember at once, 16 bytes each, in memory that all workers share; of more, "
        "those whose buckets are fullest are forgotten",
        low=1024,
        high=1 << 24,
        default="65536",
        reloadable=False,
    ),
    Option(
        "service-connect-timeout",
        "routing",
        Type.SECONDS,
        "how long a rule that asks another server (redis, memcached, ldapauth and others) waits for its connection",
        unit="seconds",
        low=0.05,
        high=60,
        default="1",
    ),
    Option(
        "service-timeout",
        "routing",
        Type.SECONDS,
        "how long such a rule waits for each answer, and for a free connection",
        unit="seconds",
        low=0.05,
        high=300,
        default="3",
    ),
    Option(
        "service-connections",
        "routing",
        Type.INT,
        "connections that each worker has to one such server, at most",
        low=1,
        high=256,
        default="8",
    ),
    Option(
        "cgi-timeout",
        "routing",
        Type.SECONDS,
        "how long a program that a rule runs (cgi, cgihelper) may take, from its start to its end; then it is killed, "
        "with all that it started",
        unit="seconds",
        low=0.1,
        high=86400,
        default="300",
    ),
    Option(
        "cgi-output",
        "routing",
        Type.INT,
        "most bytes of body that such a program may write; 0: as many as it likes",
        unit="bytes",
        low=0,
        default="1073741824",
    ),
    Option(
        "cgi-processes",
        "routing",
        Type.INT,
        "such programs that each worker runs at once, at most; others wait 10 seconds for one of them to end",
        low=1,
        high=4096,
        default="16",
    ),
)
