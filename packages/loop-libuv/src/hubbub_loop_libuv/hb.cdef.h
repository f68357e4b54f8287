/*
 * The C table of a native loop, as hubbub.loop.ring.RingLoop drives it.
 *
 * hubbub-loop-libev and hubbub-loop-libuv each hold this text, letter by letter the same, and each
 * implements it for its library.  cffi reads it as the cdef, the compiler as a header.
 *
 * A loop belongs to the thread that made it; hb_wake alone may be called from elsewhere.  C never
 * calls Python.  What failed is said by a negative errno.  Times are in seconds.
 */

typedef struct hb_loop hb_loop;

/* A new loop.  flags choose the library's backend (0: its own choice), see hb_backends.
   NULL: *error is an errno value (EINVAL: no such backend here). */
hb_loop *hb_create(unsigned int flags, int *error);

/* Closes every handle, frees everything.  0 or -errno. */
int hb_destroy(hb_loop *loop);

/* One turn.  block = 0 never waits; block = 1 waits until there is an entry in the ring, a call of
   hb_wake, or a signal (EINTR: returns at once, so that Python can run its handlers), now and then
   for nothing.  Returns the number of entries in the ring, which may be 0, or -errno. */
int hb_poll(hb_loop *loop, int block);

/* The same, waiting at most so many seconds: 0 never waits, below 0 there is no limit. */
int hb_poll_for(hb_loop *loop, double seconds);

/* The ring: pairs (key, events), valid until the next hb_poll; nothing else moves or changes it.
   io: (fd, READ 1 | WRITE 2), an error or a hang-up sets every bit that is armed;
   timer: (slot, 4), in order of their deadlines; stat: (slot, 8).
   Stopping a timer or forgetting a descriptor does not take back entries that lie in the ring. */
int *hb_fired(hb_loop *loop);

/* Level-triggered interest in a descriptor, READ 1 | WRITE 2, 0 for none.  The handle is made on
   first use and kept; to ask for what is armed already costs next to nothing.
   -EBADF: not an open descriptor, -EPERM: one that the system cannot wait for (a regular file),
   -EINVAL: no such events.  After an error event the handle may be disarmed: ask again. */
int hb_arm(hb_loop *loop, int fd, int events);

/* Drops the handle of a descriptor, before it is closed; harmless if it was closed or even opened
   anew meanwhile.  0, or -ENOENT if there is no handle. */
int hb_forget(hb_loop *loop, int fd);

/* Starts or restarts the timer of a slot: due `after` seconds from this moment (not from hb_now),
   then, if repeat > 0, every `repeat` seconds.  A negative `after` counts as 0, infinity is never.
   Slots are small numbers of the caller's choice.  -EINVAL: NaN, a negative repeat or a bad slot. */
int hb_timer_start(hb_loop *loop, int slot, double after, double repeat);

/* Stops it.  0 also if it was not running. */
int hb_timer_stop(hb_loop *loop, int slot);

/* Starts watching a path, which need not exist, for changes of what stat(2) says; looks at least
   every `interval` seconds (0: 5 s; never more often than every 0.1 s).  Slots as for timers, but
   numbered apart.  Restarts if it is running. */
int hb_stat_start(hb_loop *loop, int slot, const char *path, double interval);

/* Stops it.  0 also if it was not running. */
int hb_stat_stop(hb_loop *loop, int slot);

/* Makes a waiting hb_poll return, or the next one that would wait.  Any thread, any signal handler. */
void hb_wake(hb_loop *loop);

/* The time of the last hb_poll or hb_update_now, on the clock of time.monotonic(). */
double hb_now(hb_loop *loop);

/* Reads the clock. */
double hb_update_now(hb_loop *loop);

/* In the child after fork(), before any other call: what the kernel shares with the parent is made
   anew; descriptors, timers and stats are all dropped. */
int hb_fork(hb_loop *loop);

/* The descriptor that turns readable when hb_poll has work with descriptors, -1 if there is none. */
int hb_backend_fd(hb_loop *loop);

/* Its name: "epoll", "poll", "kqueue"... */
const char *hb_backend(hb_loop *loop);

/* The version of the library, as it is loaded. */
const char *hb_version(void);

/* The bits that hb_create takes as flags; 0 if there is nothing to choose. */
unsigned int hb_backends(void);

/* 0 if the loop's structures agree with one another, else -EFAULT (or the library aborts). */
int hb_verify(hb_loop *loop);
