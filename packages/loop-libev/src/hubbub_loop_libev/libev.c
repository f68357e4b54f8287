/*
 * The table of hb.cdef.h on libev.
 *
 * The pitfalls of libev, and what this file does about them:
 *
 * - Its epoll, poll and aio backends wait in whole milliseconds, and ev_timer counts from the cached
 *   ev_now().  So a timerfd, which any backend can watch, ends a poll with a limit.  Setting it costs a
 *   system call, so it is set only when the limit is earlier than the time that it is set to: a time-out
 *   that is started and stopped again for each read never reaches the kernel, at the price of one idle
 *   wake-up when the old time comes.  Without timerfd (kqueue and select are precise) an ev_timer does it.
 * - epoll refuses regular files, and libev then pretends that they are always ready.  A greenlet that
 *   waits for one would spin, so hb_arm refuses them (door).
 * - libev asserts that no watched descriptor is closed, and distributions build it with assertions.  So a
 *   descriptor that is closed without hb_forget between arming and polling (with poll as the backend: at
 *   any time) would end the process.  Right before the poll (settle) the newly armed ones are checked; a
 *   closed one is reported with all its armed events, and the greenlet that waits gets the real error.
 *   Where libev notices it (EV_ERROR), the same is done; libev has stopped the watcher by then.  Watching
 *   the loop's own epoll instance fails the same assertion.
 * - After an error that it does not expect libev ends the process, through a callback.  The callback here
 *   returns after a failed wait, so that hb_poll reports the error (the program has closed the loop's own
 *   descriptors, as daemons do).  It must not return to places that try again until they succeed.  These
 *   open descriptors for ev_async, which is not used here.
 * - ev_io_stop and ev_io_start make no system call: when libev polls, it compares the sum of changes with
 *   what the kernel has.  It always tells the kernel of a new watcher on an old number (EV__IOFDSET).
 * - After fork, the epoll instance and the timerfd are still the parent's.  ev_loop_fork only sets a flag;
 *   the next turn gives the child its own.
 */
#if defined(__has_include)
#if !__has_include(<ev.h>)
#error "libev's header is missing. Debian, Ubuntu: apt install libev-dev. Fedora: dnf install libev-devel. macOS: brew install libev."
#endif
#endif
#include <ev.h>

#include <stdio.h>
#if defined(__linux__) && !defined(HB_NO_TIMERFD)
#define HB_TIMERFD
#include <sys/epoll.h>
#include <sys/timerfd.h>
#endif

#include "hb.cdef.h"
#include "hb_shared.h"

struct hb_loop {
    struct ev_loop *ev;
    struct hb_owner owner;
    struct hb_ring ring;
    struct hb_table handles;  /* by descriptor: struct handle */
    struct hb_list unsettled; /* descriptors armed since the last poll */
    double set_to; /* when the limiter goes off, on hb_clock; INFINITY: never; -INFINITY: it has gone off */
    struct hb_bell bell;
    ev_io waker; /* watches the bell */
#ifdef HB_TIMERFD
    ev_io limiter;
#else
    ev_timer limiter;
#endif
};

struct handle {
    ev_io io;
    int armed;
    int unsettled; /* whether it is in the loop's list */
};

/* -- callbacks: they write into the ring, no more -------------------------------------------------- */

/* Reports a descriptor that cannot be watched any more as ready: the greenlet that waits gets the error. */
static void failed(hb_loop *loop, struct handle *handle)
{
    ev_io_stop(loop->ev, &handle->io);
    if (handle->armed)
        hb_ring_push(&loop->ring, handle->io.fd, handle->armed);
    handle->armed = 0;
}

static void on_io(struct ev_loop *ev, ev_io *io, int events)
{
    struct hb_loop *loop = ev_userdata(ev);
    struct handle *handle = (struct handle *)io;
    if (events & EV_ERROR)
        failed(loop, handle);
    else if (events & handle->armed)
        hb_ring_push(&loop->ring, io->fd, events & handle->armed);
}

static void on_wake(struct ev_loop *ev, ev_io *io, int events)
{
    struct hb_loop *loop = ev_userdata(ev);
    (void)io, (void)events;
    hb_bell_silence(&loop->bell);
}

/* -- errors after which libev would end the process ------------------------------------------------- */

static _Thread_local int wait_error;

/* libev has one such callback for the process. */
static void on_syserr(const char *message)
{
    static const char *const waits[] = {"epoll_wait", "poll", "select", "kevent", "port_getn"};
    const char *what = strrchr(message, ' ');
    size_t i;
    for (i = 0; what && i < sizeof waits / sizeof *waits; i++)
        if (!strcmp(what + 1, waits[i])) {
            wait_error = errno;
            return;
        }
    perror(message);
    abort();
}

/* -- the limiter: ends a wait at its limit ---------------------------------------------------------- */

#ifdef HB_TIMERFD

static void on_limit(struct ev_loop *ev, ev_io *io, int events)
{
    struct hb_loop *loop = ev_userdata(ev);
    (void)io, (void)events;
    loop->set_to = -INFINITY;
}

static int limiter_open(hb_loop *loop)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    ev_io_init(&loop->limiter, on_limit, fd, EV_READ);
    ev_io_start(loop->ev, &loop->limiter);
    loop->set_to = INFINITY;
    return 0;
}

static void limiter_close(hb_loop *loop)
{
    ev_io_stop(loop->ev, &loop->limiter);
    close(loop->limiter.fd);
}

static int limiter_check(const hb_loop *loop)
{
    return fcntl(loop->limiter.fd, F_GETFD) < 0 ? -errno : 0;
}

static int limiter_set(hb_loop *loop, double deadline)
{
    struct itimerspec spec = {{0, 0}, {0, 0}};
    if (deadline < INFINITY)
        spec.it_value = hb_timespec(deadline);
    if (timerfd_settime(loop->limiter.fd, TFD_TIMER_ABSTIME, &spec, NULL))
        return -errno;
    loop->set_to = deadline;
    return 0;
}

#else

static void on_limit(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct hb_loop *loop = ev_userdata(ev);
    (void)timer, (void)events;
    loop->set_to = -INFINITY;
}

static int limiter_open(hb_loop *loop)
{
    ev_timer_init(&loop->limiter, on_limit, 0., 0.);
    loop->set_to = INFINITY;
    return 0;
}

static void limiter_close(hb_loop *loop)
{
    ev_timer_stop(loop->ev, &loop->limiter);
}

static int limiter_check(const hb_loop *loop)
{
    (void)loop; /* it has no descriptor */
    return 0;
}

static int limiter_set(hb_loop *loop, double deadline)
{
    ev_timer_stop(loop->ev, &loop->limiter);
    loop->set_to = deadline;
    if (deadline < INFINITY) {
        ev_now_update(loop->ev);
        ev_timer_set(&loop->limiter, fmax(deadline - hb_clock(), 0.), 0.);
        ev_timer_start(loop->ev, &loop->limiter);
    }
    return 0;
}

#endif

/* Seconds: limits no further apart than this count as equal, as the same deadline, computed from durations
   at different times, varies a little. */
#define NEARLY 20e-6

/* Sets the limiter before a wait.  A timerfd that has gone off stays readable until it is set again. */
static int limit_wait(hb_loop *loop, double seconds)
{
    double until = seconds < 0 ? INFINITY : hb_clock() + seconds;
    if (until < loop->set_to - NEARLY || loop->set_to == -INFINITY)
        return limiter_set(loop, until);
    return 0;
}

static int enter_loop(hb_loop *loop)
{
    return loop ? hb_enter(&loop->owner) : -ENXIO;
}

/* -- the bell --------------------------------------------------------------------------------------- */

static int waker_open(hb_loop *loop)
{
    int error = hb_bell_open(&loop->bell);
    if (error)
        return error;
    ev_io_init(&loop->waker, on_wake, loop->bell.reader, EV_READ);
    ev_io_start(loop->ev, &loop->waker);
    return 0;
}

static void waker_close(hb_loop *loop)
{
    ev_io_stop(loop->ev, &loop->waker);
    hb_bell_close(&loop->bell);
}

/* -- one turn ------------------------------------------------------------------------------------- */

static void settle_one(hb_loop *loop, int fd)
{
    struct handle *handle = hb_table_get(&loop->handles, fd);
    if (handle && handle->armed && fcntl(fd, F_GETFD) < 0)
        failed(loop, handle);
    if (handle)
        handle->unsettled = 0;
}

/* Checks the newly armed descriptors.  0, or -errno if the loop's own descriptors are closed. */
static int settle(hb_loop *loop)
{
    int i;
    for (i = 0; i < loop->unsettled.count; i++)
        settle_one(loop, loop->unsettled.items[i]);
    loop->unsettled.count = 0;
    if (ev_backend(loop->ev) != EVBACKEND_POLL)
        return 0;
    for (i = 0; i < loop->handles.room; i++)
        settle_one(loop, i);
    return limiter_check(loop);
}

/* One turn of libev; seconds as for hb_poll. */
static int run(hb_loop *loop, double seconds)
{
    int block = seconds < 0 || seconds > 0; /* false for NaN */
    int error = block ? limit_wait(loop, seconds) : 0;
    if (error)
        return error;
    wait_error = 0;
    ev_run(loop->ev, block ? EVRUN_ONCE : EVRUN_NOWAIT);
    return -wait_error;
}

/* One turn of the loop: 0 or -errno; what it found is in the ring. */
static int turn(hb_loop *loop, double seconds)
{
    int error;
    loop->ring.count = 0;
    error = settle(loop);
    return error ? error : run(loop, loop->ring.count ? 0 : seconds);
}

int hb_poll(hb_loop *loop, double seconds)
{
    int error = enter_loop(loop), count;
    if (error)
        return error;
    error = turn(loop, seconds);
    count = loop->ring.count;
    hb_leave(&loop->owner);
    return error ? error : count;
}

int *hb_fired(hb_loop *loop)
{
    return loop ? loop->ring.pairs : NULL;
}

int hb_count(hb_loop *loop)
{
    return loop ? loop->ring.count : 0;
}

/* -- making and ending ------------------------------------------------------------------------------ */

static int open_parts(hb_loop *loop, unsigned int flags)
{
    int error;
    if (flags & ~hb_backends())
        return -EINVAL;
    ev_set_syserr_cb(on_syserr);
    errno = 0;
    loop->ev = ev_loop_new(EVFLAG_NOENV | EVFLAG_NOSIGMASK | flags);
    if (!loop->ev)
        return errno ? -errno : -EINVAL;
    ev_set_userdata(loop->ev, loop);
    error = limiter_open(loop);
    if (error)
        goto fail;
    error = waker_open(loop);
    if (!error)
        return 0;
    limiter_close(loop);
fail:
    ev_loop_destroy(loop->ev);
    return error;
}

hb_loop *hb_create(unsigned int flags, int *error)
{
    hb_loop *loop = calloc(1, sizeof *loop);
    if (loop) {
        loop->bell.reader = loop->bell.writer = -1;
        hb_belong(&loop->owner);
    }
    *error = loop ? -open_parts(loop, flags) : ENOMEM;
    if (*error) {
        free(loop);
        return NULL;
    }
    turn(loop, 0); /* libev's own descriptors, the limiter and the bell are registered now */
    return loop;
}

static int forget(hb_loop *loop, int fd)
{
    struct handle *handle = hb_table_take(&loop->handles, fd);
    if (!handle)
        return -ENOENT;
    ev_io_stop(loop->ev, &handle->io);
    free(handle);
    return 0;
}

static void drop_handles(hb_loop *loop)
{
    int fd;
    for (fd = 0; fd < loop->handles.room; fd++)
        forget(loop, fd);
}

static void end(hb_loop *loop)
{
    drop_handles(loop);
    ev_io_stop(loop->ev, &loop->waker);
    limiter_close(loop);
    ev_loop_destroy(loop->ev);
    loop->ev = NULL;
}

int hb_destroy(hb_loop *loop)
{
    int error = enter_loop(loop);
    if (error)
        return error;
    end(loop);
    hb_change_state(&loop->owner, HB_BUSY, HB_ENDED);
    return 0;
}

void hb_free(hb_loop *loop)
{
    if (!loop || hb_state(&loop->owner) == HB_BUSY)
        return;
    if (hb_state(&loop->owner) == HB_IDLE)
        end(loop);
    hb_bell_close(&loop->bell);
    free(loop->handles.items);
    free(loop->unsettled.items);
    free(loop->ring.pairs);
    free(loop);
}

int hb_own(hb_loop *loop)
{
    return loop ? hb_take_over(&loop->owner) : -ENXIO;
}

/* In the child of a fork: the limiter and the bell are shared with the parent, so they are made anew too. */
static int start_anew(hb_loop *loop)
{
    int error;
    drop_handles(loop);
    limiter_close(loop);
    waker_close(loop);
    error = limiter_open(loop);
    if (!error)
        error = waker_open(loop);
    if (error)
        return error;
    ev_loop_fork(loop->ev);
    error = turn(loop, 0);
    loop->ring.count = 0;
    return error;
}

int hb_fork(hb_loop *loop)
{
    int error;
    if (!loop || hb_state(&loop->owner) == HB_ENDED)
        return -ENXIO;
    hb_belong(&loop->owner);
    hb_leave(&loop->owner);
    error = hb_enter(&loop->owner);
    if (error)
        return error;
    error = start_anew(loop);
    hb_leave(&loop->owner);
    return error;
}

/* -- descriptors ---------------------------------------------------------------------------------- */

#ifdef HB_TIMERFD

/* Whether fd is the loop's own epoll instance: it watches the limiter already. */
static int is_own_epoll(hb_loop *loop, int fd)
{
    struct epoll_event none = {0, {0}};
    if (epoll_ctl(fd, EPOLL_CTL_ADD, loop->limiter.fd, &none))
        return errno == EEXIST;
    epoll_ctl(fd, EPOLL_CTL_DEL, loop->limiter.fd, &none);
    return 0;
}

/* Asks epoll whether it takes the descriptor, whatever backend libev uses. */
static int ask_epoll(hb_loop *loop, int fd)
{
    struct epoll_event none = {0, {0}};
    int error, epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return -errno;
    error = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &none) ? -errno : 0;
    close(epoll);
    return !error && is_own_epoll(loop, fd) ? -EINVAL : error;
}

#else

static int ask_epoll(hb_loop *loop, int fd)
{
    (void)loop, (void)fd;
    return 0;
}

#endif

/* Whether a descriptor can be waited for: 0 or -errno.  hb_door knows most kinds, epoll knows the devices. */
static int door(hb_loop *loop, int fd)
{
    mode_t mode;
    int error = hb_door(fd, &mode);
    if (error || S_ISSOCK(mode) || S_ISFIFO(mode))
        return error;
    return ask_epoll(loop, fd);
}

static struct handle *handle_new(hb_loop *loop, int fd, int *error)
{
    struct handle *handle = NULL;
    *error = door(loop, fd);
    if (*error)
        return NULL;
    handle = calloc(1, sizeof *handle);
    *error = handle ? hb_table_put(&loop->handles, fd, handle) : -ENOMEM;
    if (*error) {
        free(handle);
        return NULL;
    }
    ev_io_init(&handle->io, on_io, fd, 0);
    return handle;
}

/* A number that was disarmed, or is armed once more, may be another file by now: ev_io_set makes libev tell the kernel
   in any case.  libev takes an event of the file before for a false alarm, and then makes its epoll instance anew. */
static void handle_set(hb_loop *loop, struct handle *handle, int events)
{
    ev_io_stop(loop->ev, &handle->io);
#ifdef ev_io_modify
    if (handle->armed && handle->armed != events)
        ev_io_modify(&handle->io, events);
    else
#endif
        ev_io_set(&handle->io, handle->io.fd, events);
    if (events)
        ev_io_start(loop->ev, &handle->io);
    handle->armed = events;
}

static int arm(hb_loop *loop, int fd, int events)
{
    struct handle *handle = hb_table_get(&loop->handles, fd);
    int moved, error = 0;
    if (handle && !handle->armed && !events)
        return 0;
    if (handle && events && (!handle->armed || handle->armed == events))
        error = door(loop, fd); /* it may be another file by now */
    else if (handle && events && fcntl(fd, F_GETFD) < 0)
        error = -errno;
    if (error)
        return error;
    moved = hb_ring_reserve(&loop->ring, loop->handles.used + 1);
    if (moved < 0)
        return moved;
    if (!handle)
        handle = handle_new(loop, fd, &error);
    if (!error && !handle->unsettled) {
        error = hb_list_add(&loop->unsettled, fd);
        handle->unsettled = !error;
    }
    if (!error)
        handle_set(loop, handle, events);
    return error ? error : moved;
}

int hb_arm(hb_loop *loop, int fd, int events)
{
    int result = enter_loop(loop);
    if (result)
        return result;
    result = events & ~(HB_READ | HB_WRITE) ? -EINVAL : arm(loop, fd, events);
    hb_leave(&loop->owner);
    return result;
}

int hb_forget(hb_loop *loop, int fd)
{
    int error = enter_loop(loop);
    if (error)
        return error;
    error = forget(loop, fd);
    hb_leave(&loop->owner);
    return error;
}

/* -- the rest ------------------------------------------------------------------------------------- */

void hb_wake(hb_loop *loop)
{
    if (loop)
        hb_bell_ring(&loop->bell);
}

int hb_backend_fd(hb_loop *loop)
{
    (void)loop; /* libev has no call for it */
    return -1;
}

const char *hb_backend(hb_loop *loop)
{
    static const char *const names[] = {"select", "poll", "epoll", "kqueue", "devpoll", "port"};
    unsigned int bit = loop && loop->ev ? ev_backend(loop->ev) : 0;
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (bit == 1u << i)
            return names[i];
    return "unknown";
}

const char *hb_version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d", ev_version_major(), ev_version_minor());
    return text;
}

/* Without linuxaio and iouring, which libev calls experimental: with them 4.33 aborts in the tests of this table. */
unsigned int hb_backends(void)
{
    return ev_supported_backends() & 0x3f;
}

static int verify(hb_loop *loop)
{
    int fd;
    ev_verify(loop->ev); /* asserts */
    for (fd = 0; fd < loop->handles.room; fd++) {
        struct handle *handle = hb_table_get(&loop->handles, fd);
        if (handle && (handle->io.fd != fd || ev_is_active(&handle->io) != (handle->armed != 0)))
            return -EFAULT;
    }
    return loop->ring.room < loop->handles.used ? -EFAULT : 0;
}

int hb_verify(hb_loop *loop)
{
    int error = enter_loop(loop);
    if (error)
        return error;
    error = verify(loop);
    hb_leave(&loop->owner);
    return error;
}
