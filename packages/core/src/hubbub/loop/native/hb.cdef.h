/*
 * The C table of a native loop, as hubbub.loop.ring.RingBackend drives it.
 *
 * A package implements it for its library.  cffi reads it as the cdef, the compiler as a header:
 * hubbub.loop.native says where it is.
 *
 * A loop belongs to the thread that made it, until another thread calls hb_own or hb_fork.  Of the other functions
 * only hb_wake may be called from another thread.  C never calls Python.  A failure is returned as a negative errno;
 * each function that returns one returns -ENXIO for a loop that is NULL or was destroyed, and -EPROTO in a thread that
 * the loop does not belong to.
 *
 * hb_destroy ends a loop, hb_free frees its memory.  Between the two any function may be called from any thread, also
 * while hb_destroy runs: a caller that keeps the pointer alive while a call may be under way needs no lock.
 *
 * Timers are not here: the caller tells hb_poll how long it may wait.
 */

typedef struct hb_loop hb_loop;

/* A new loop.  flags choose the library's backend (0: its own choice), see hb_backends.
   NULL: *error is an errno value (EINVAL: no such backend here). */
hb_loop *hb_create(unsigned int flags, int *error);

/* Ends the loop: closes every handle and everything that belongs to the library.  0 or -errno. */
int hb_destroy(hb_loop *loop);

/* Frees what is left of a loop; one that was not destroyed is destroyed first.  No thread uses the loop any more.
   A loop whose thread has vanished in the middle of a call (in a child, after fork) is left as it is. */
void hb_free(hb_loop *loop);

/* Makes the loop the calling thread's own; its previous thread must not use it again.  -EBUSY: that thread is
   in hb_poll, or another function, just now. */
int hb_own(hb_loop *loop);

/* One turn.  Waits until there is an entry in the ring, a call of hb_wake or a signal (EINTR: returns at
   once, so that Python can run its handlers), but at most so many seconds: 0 (or NaN) never waits, below
   0 there is no limit.  May return early, with nothing, now and then.
   Returns the number of entries in the ring, which may be 0, or -errno. */
int hb_poll(hb_loop *loop, double seconds);

/* The ring: pairs (fd, events), events READ 1 | WRITE 2; an error or a hang-up sets every bit that is
   armed.  A descriptor has one pair at most.  The pairs are valid until the next hb_poll, the address until an
   hb_arm returns something else than 0.  Forgetting a descriptor does not remove its pair from the ring. */
int *hb_fired(hb_loop *loop);

/* How many entries the last hb_poll has put there. */
int hb_count(hb_loop *loop);

/* Level-triggered interest in a descriptor, READ 1 | WRITE 2, 0 for none.  The handle is made on
   first use and kept.  A call for what is armed already tells the kernel again: the number may be another
   file's by now, and a kernel forgets a closed descriptor.
   -EBADF: not an open descriptor, -EPERM: one that the system cannot wait for (a regular file),
   -EINVAL: no such events.  After an error event the handle may be disarmed: ask again.
   0; or 1: done, and the ring has moved, see hb_fired. */
int hb_arm(hb_loop *loop, int fd, int events);

/* Drops the handle of a descriptor, before it is closed; harmless if it was closed or even opened
   anew meanwhile.  0, or -ENOENT if there is no handle. */
int hb_forget(hb_loop *loop, int fd);

/* Makes a waiting hb_poll return, or the next one that would wait.  Any thread, any signal handler; harmless for a loop
   that was destroyed. */
void hb_wake(hb_loop *loop);

/* In the child after fork(), before any other call: what the kernel shares with the parent is made
   anew; descriptors are all dropped. */
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
