# C types for the compiled form of common.py; the Python source is the program (see uwsgirouter/compiled.py).

cdef class Common:
    cdef public long long[::1] cells
    cdef public int[::1] inflight
    cdef public object loop, scratch, relay, find, choice, idle, fresh_timer, rules, observer
    cdef public bytes forced_key
    cdef public int mount_levels
    cdef public bint handles_bodies, keep_modifiers, passes_descriptors
    cdef public long ticks
    cdef public set sessions
    cdef public list fresh

    cpdef watch_later(self, session)
    cpdef closed(self, session)
