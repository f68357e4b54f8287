/*
 * The table of hb.cdef.h on libuv.
 *
 * The pitfalls of libuv, and what this file does about them:
 *
 * - It counts time in whole milliseconds of a coarse clock, starts a wait anew after a signal, and ends
 *   the process when its wait fails.  So this file waits itself, on uv_backend_fd and to the nanosecond;
 *   uv_run never waits, it only takes what is there.  libuv is meant to be embedded so, as long as no timer
 *   or other handle without a descriptor is used.  uv_run comes first, and the wait follows only when uv_run
 *   has found nothing: a loop with work to do makes one system call a turn, and one that goes to sleep can
 *   afford the second.  The wait is a ppoll of uv_backend_fd: an epoll_wait would use up the reports of
 *   descriptors that libuv registers edge-triggered, from 1.51 on those of its own wake-ups.
 * - uv__io_poll ends the process if epoll_ctl refuses what uv_poll_start was asked to watch: a descriptor
 *   that was closed since, or closed and opened anew as a regular file, or one too many for the user's
 *   limit (fs.epoll.max_user_watches).  So hb_arm only checks that the descriptor is open, and notes the
 *   wanted events; right before uv_run, settle tells libuv and registers the descriptor itself, which shows
 *   every such error and costs no more: libuv finds the entry (EEXIST), and changing it needs no memory.
 *   Between the two another thread could still close the descriptor; threads must not close what others
 *   watch.  The kernel is not asked again for a registered descriptor, so later closing is harmless.
 * - On POLLERR libuv stops the handle and reports EBADF.  The error is reported as all armed events, and
 *   the handle is started again before the next poll, as it is level-triggered.
 * - A batch has 1024 events, and a full one is followed by another in the same uv_run, up to 48: with more
 *   ready descriptors than that one descriptor comes several times.  These reports share one ring entry.
 * - A handle's memory is libuv's until its close callback runs, so that callback frees it, and the loop is
 *   run until uv_loop_close finds no handles left.
 * - uv_poll_init makes the descriptor non-blocking, for all who share its open file.  open_poll undoes that.
 * - After fork, the epoll instance is still the parent's: stopping a handle would remove the descriptor from
 *   it.  So uv_loop_fork comes first, also before hb_destroy in a child.
 */
#if defined(__has_include)
#if !__has_include(<uv.h>)
#error "libuv's header is missing. Debian, Ubuntu: apt install libuv1-dev. Fedora: dnf install libuv-devel. macOS: brew install libuv."
#endif
#endif
#include <uv.h>

#include <poll.h>
#ifdef __linux__
#include <sys/epoll.h>
#else
#include <sys/select.h>
#endif

#include "hb.cdef.h"
#include "hb_shared.h"

struct handle {
    uv_poll_t poll; /* first: libuv's pointer to it is one to the handle */
    int fd;
    int wanted;
    int armed; /* as libuv knows it */
    unsigned int turn;
    int entry; /* its place in the ring, if turn is the loop's */
    int unsettled; /* whether it is in the loop's list */
};

struct hb_loop {
    uv_loop_t uv;
    uv_poll_t waker; /* watches the bell */
    struct hb_bell bell;
    struct hb_owner owner;
    struct hb_ring ring;
    struct hb_table handles;  /* by descriptor: struct handle */
    struct hb_list unsettled; /* descriptors whose wanted events libuv does not know yet */
    unsigned int turn;
    int woken; /* in this turn */
    struct hb_list lost; /* numbers whose file was closed without hb_forget */
    int stale;           /* such a file is still open under another number, and epoll reports it by the old one */
    pid_t process;
};

/* -- callbacks: they write into the ring, no more -------------------------------------------------- */

static void fired(hb_loop *loop, struct handle *handle, int events)
{
    if (handle->turn == loop->turn) {
        loop->ring.pairs[2 * handle->entry + 1] |= events;
        return;
    }
    handle->turn = loop->turn;
    handle->entry = loop->ring.count;
    hb_ring_push(&loop->ring, handle->fd, events);
}

static int unsettle(hb_loop *loop, struct handle *handle)
{
    int error = handle->unsettled ? 0 : hb_list_add(&loop->unsettled, handle->fd);
    if (!error)
        handle->unsettled = 1;
    return error;
}

static int in_list(const struct hb_list *list, int item)
{
    int i;
    for (i = 0; i < list->count && list->items[i] != item; i++) {
    }
    return i < list->count;
}

/* Those of events that are not of a file that had the number before. */
static int true_events(hb_loop *loop, struct handle *handle, int events)
{
    struct pollfd p = {handle->fd, 0, 0};
    int found;
    if (!in_list(&loop->lost, handle->fd))
        return events;
    p.events = (events & HB_READ ? POLLIN : 0) | (events & HB_WRITE ? POLLOUT : 0);
    poll(&p, 1, 0);
    found = (p.revents & ~POLLOUT ? HB_READ : 0) | (p.revents & ~POLLIN ? HB_WRITE : 0); /* an error is both */
    if (events & ~found)
        loop->stale = 1;
    return events & found;
}

static void on_io(uv_poll_t *poll, int status, int events)
{
    struct handle *handle = (struct handle *)poll;
    hb_loop *loop = poll->data;
    if (status < 0) {
        fired(loop, handle, handle->armed);
        handle->armed = 0;
        if (unsettle(loop, handle))
            handle->wanted = 0; /* no memory: a caller that still waits must arm it again */
    } else {
        events &= handle->armed;
        if (loop->lost.count)
            events = true_events(loop, handle, events);
        if (events)
            fired(loop, handle, events);
    }
}

static void on_wake(uv_poll_t *waker, int status, int events)
{
    hb_loop *loop = waker->data;
    (void)status, (void)events;
    hb_bell_silence(&loop->bell);
    loop->woken = 1;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* -- telling libuv and the kernel what is wanted ----------------------------------------------------- */

#ifdef __linux__

/* Enters the descriptor into libuv's epoll instance; libuv will find it there. */
static int enter(hb_loop *loop, struct handle *handle)
{
    struct epoll_event event = {0, {0}};
    event.events = (handle->wanted & HB_READ ? EPOLLIN : 0) | (handle->wanted & HB_WRITE ? EPOLLOUT : 0);
    event.data.fd = handle->fd;
    if (epoll_ctl(uv_backend_fd(&loop->uv), EPOLL_CTL_ADD, handle->fd, &event) && errno != EEXIST)
        return -errno;
    return 0;
}

#else

static int enter(hb_loop *loop, struct handle *handle)
{
    struct pollfd p = {handle->fd, POLLIN, 0};
    (void)loop;
    if (poll(&p, 1, 0) < 0)
        return -errno;
    return p.revents & POLLNVAL ? -EBADF : 0;
}

#endif

static int start(hb_loop *loop, struct handle *handle)
{
    int events = (handle->wanted & HB_READ ? UV_READABLE : 0) | (handle->wanted & HB_WRITE ? UV_WRITABLE : 0);
    int error = uv_poll_start(&handle->poll, events, on_io);
    if (!error)
        error = enter(loop, handle);
    return error;
}

/* Tells libuv what is wanted.  A descriptor that cannot be watched any more is reported as ready: the greenlet that
   waits gets the error. */
static void settle_one(hb_loop *loop, struct handle *handle)
{
    int error = 0;
    if (handle->armed == handle->wanted)
        return;
    if (handle->wanted)
        error = start(loop, handle);
    if (error)
        fired(loop, handle, handle->wanted);
    if (error || !handle->wanted)
        uv_poll_stop(&handle->poll);
    if (error)
        handle->wanted = 0;
    handle->armed = handle->wanted;
}

/* A file that was closed while it was watched, and is still open under another number, cannot be removed from the
   kernel's set by its old number, which another file may have now.  So libuv makes a new set, as after a fork, and all
   descriptors are registered anew. */
static void renew(hb_loop *loop)
{
    int fd;
    loop->stale = 0;
    if (hb_room_for(4))
        return; /* no descriptors left for a new set: false alarms go on */
    for (fd = 0; fd < loop->handles.room; fd++) {
        struct handle *handle = hb_table_get(&loop->handles, fd);
        if (!handle || !handle->armed || unsettle(loop, handle))
            continue;
        uv_poll_stop(&handle->poll);
        handle->armed = 0;
    }
    loop->lost.count = 0;
    uv_loop_fork(&loop->uv);
}

static void settle(hb_loop *loop)
{
    int i;
    if (loop->stale)
        renew(loop);
    for (i = 0; i < loop->unsettled.count; i++) {
        struct handle *handle = hb_table_get(&loop->handles, loop->unsettled.items[i]);
        if (handle && handle->unsettled) {
            handle->unsettled = 0;
            settle_one(loop, handle);
        }
    }
    loop->unsettled.count = 0;
}

/* -- waiting -------------------------------------------------------------------------------------- */

#ifdef __linux__

/* Waits until the descriptor is readable; seconds below 0 are no limit.  epoll_wait would take an edge from libuv. */
static int wait_for(int fd, double seconds)
{
    struct pollfd p = {fd, POLLIN, 0};
    struct timespec t = hb_timespec(seconds);
    return ppoll(&p, 1, seconds < 0 ? NULL : &t, NULL);
}

#else

static int wait_for(int fd, double seconds)
{
    struct timespec t = hb_timespec(seconds);
    fd_set fds;
    if (fd >= FD_SETSIZE) {
        errno = EMFILE;
        return -1;
    }
    FD_ZERO(&fds);
    FD_SET(fd, &fds);
    return pselect(fd + 1, &fds, NULL, NULL, seconds < 0 ? NULL : &t, NULL);
}

#endif

/* -- one turn ------------------------------------------------------------------------------------- */

static int enter_loop(hb_loop *loop)
{
    return loop ? hb_enter(&loop->owner) : -ENXIO;
}

/* Lets libuv take the events that are there; returns whether there were any. */
static int look(hb_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    return loop->ring.count || loop->woken;
}

static int turn(hb_loop *loop, double seconds)
{
    int ready;
    loop->ring.count = 0;
    loop->woken = 0;
    loop->turn++;
    settle(loop);
    if (fcntl(uv_backend_fd(&loop->uv), F_GETFD) < 0)
        return -errno;
    if (look(loop) || !(seconds < 0 || seconds > 0))
        return 0;
    ready = wait_for(uv_backend_fd(&loop->uv), seconds);
    if (ready > 0 && !look(loop) && loop->lost.count)
        loop->stale = 1; /* the event is of no watched file */
    return ready < 0 && errno != EINTR ? -errno : 0;
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

/* Opens the bell and watches it.  libuv's loop must be there already. */
static int open_waker(hb_loop *loop)
{
    int error = hb_bell_open(&loop->bell);
    if (error)
        return error;
    error = uv_poll_init(&loop->uv, &loop->waker, loop->bell.reader);
    if (error) {
        hb_bell_close(&loop->bell);
        return error;
    }
    loop->waker.data = loop;
    return uv_poll_start(&loop->waker, UV_READABLE, on_wake);
}

/* Closes the loop of libuv once all handles are closed. */
static void close_uv(hb_loop *loop)
{
    while (uv_loop_close(&loop->uv) == UV_EBUSY)
        uv_run(&loop->uv, UV_RUN_NOWAIT);
}

static int open_parts(hb_loop *loop)
{
    int error = hb_room_for(5); /* descriptors: epoll, eventfds, and once a process the pipe of libuv's lock */
    loop->bell.reader = loop->bell.writer = -1;
    hb_belong(&loop->owner);
    if (!error)
        error = uv_loop_init(&loop->uv);
    if (error)
        return error;
    error = open_waker(loop);
    if (error) {
        close_uv(loop);
        return error;
    }
    loop->process = getpid();
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* libuv's own descriptors are registered now */
    return 0;
}

hb_loop *hb_create(unsigned int flags, int *error)
{
    hb_loop *loop;
    *error = flags ? EINVAL : 0;
    if (flags)
        return NULL;
    loop = calloc(1, sizeof *loop);
    *error = loop ? -open_parts(loop) : ENOMEM;
    if (*error) {
        free(loop);
        return NULL;
    }
    return loop;
}

static int forget(hb_loop *loop, int fd)
{
    struct handle *handle = hb_table_take(&loop->handles, fd);
    if (!handle)
        return -ENOENT;
    uv_close((uv_handle_t *)&handle->poll, on_closed);
    return 0;
}

static void drop_handles(hb_loop *loop)
{
    int fd;
    for (fd = 0; fd < loop->handles.room; fd++)
        forget(loop, fd);
}

int hb_own(hb_loop *loop)
{
    return loop ? hb_take_over(&loop->owner) : -ENXIO;
}

/* In the child of a fork: the bell is shared with the parent.  It and the handle that watches it are made anew. */
static int start_anew(hb_loop *loop)
{
    int error = uv_loop_fork(&loop->uv);
    if (error)
        return error;
    loop->process = getpid();
    drop_handles(loop);
    uv_close((uv_handle_t *)&loop->waker, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* finishes closing, registers libuv's own descriptors */
    hb_bell_close(&loop->bell);
    loop->ring.count = loop->unsettled.count = 0;
    return open_waker(loop);
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
    if (!error)
        uv_run(&loop->uv, UV_RUN_NOWAIT); /* the bell is registered now */
    hb_leave(&loop->owner);
    return error;
}

static int end(hb_loop *loop)
{
    /* The epoll instance shared with a parent is given up first: stopping a handle would remove the parent's entry. */
    int error = loop->process != getpid() ? uv_loop_fork(&loop->uv) : 0;
    if (error)
        return error; /* a leak is better than a change of the parent's epoll instance */
    drop_handles(loop);
    uv_close((uv_handle_t *)&loop->waker, NULL);
    close_uv(loop);
    return 0;
}

int hb_destroy(hb_loop *loop)
{
    int error = enter_loop(loop);
    if (error)
        return error;
    error = end(loop);
    if (error)
        hb_leave(&loop->owner);
    else
        hb_change_state(&loop->owner, HB_BUSY, HB_ENDED);
    return error;
}

void hb_free(hb_loop *loop)
{
    if (!loop || hb_state(&loop->owner) == HB_BUSY)
        return;
    if (hb_state(&loop->owner) == HB_IDLE && end(loop))
        return;
    hb_bell_close(&loop->bell);
    free(loop->handles.items);
    free(loop->unsettled.items);
    free(loop->lost.items);
    free(loop->ring.pairs);
    free(loop);
}

/* -- descriptors ---------------------------------------------------------------------------------- */

/* Descriptors that hb_door accepts uv_poll_init tries on the kernel. */
static int open_poll(hb_loop *loop, struct handle *handle, int fd)
{
    mode_t mode;
    int error = hb_door(fd, &mode);
    int flags = fcntl(fd, F_GETFL);
    if (error)
        return error;
    error = uv_poll_init(&loop->uv, &handle->poll, fd);
    if (!error && flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags);
    return error;
}

static struct handle *handle_new(hb_loop *loop, int fd, int *error)
{
    struct handle *handle = calloc(1, sizeof *handle);
    if (!handle) {
        *error = -ENOMEM;
        return NULL;
    }
    *error = open_poll(loop, handle, fd);
    if (*error) {
        free(handle);
        return NULL;
    }
    handle->poll.data = loop;
    handle->fd = fd;
    handle->turn = loop->turn - 1;
    *error = hb_table_put(&loop->handles, fd, handle);
    if (*error) {
        uv_close((uv_handle_t *)&handle->poll, on_closed);
        return NULL;
    }
    return handle;
}

#ifdef __linux__

/* Whether epoll has lost the descriptor registered under this number: it was closed, or is another file now. */
static int is_lost(hb_loop *loop, struct handle *handle)
{
    struct epoll_event event = {0, {0}};
    event.events = (handle->armed & HB_READ ? EPOLLIN : 0) | (handle->armed & HB_WRITE ? EPOLLOUT : 0);
    event.data.fd = handle->fd;
    return epoll_ctl(uv_backend_fd(&loop->uv), EPOLL_CTL_MOD, handle->fd, &event) && (errno == ENOENT || errno == EBADF);
}

#else

static int is_lost(hb_loop *loop, struct handle *handle)
{
    (void)loop, (void)handle;
    return 0; /* kqueue forgets by number */
}

#endif

/* Called before the wanted events change, or are wanted once more: the number may be another file's by now. */
static int look_again(hb_loop *loop, struct handle *handle, int events)
{
    mode_t mode;
    int error = events && (!handle->wanted || handle->wanted == events) ? hb_door(handle->fd, &mode) : 0;
    if (error)
        return error;
    if (handle->armed && !handle->unsettled && is_lost(loop, handle))
        loop->stale |= hb_list_add(&loop->lost, handle->fd) != 0;
    if (events)
        handle->armed = 0; /* so that settle tells libuv in any case */
    return 0;
}

static int arm(hb_loop *loop, int fd, int events)
{
    struct handle *handle = hb_table_get(&loop->handles, fd);
    int moved, error = 0;
    if (handle && !handle->wanted && !events)
        return 0;
    if (handle && events && fcntl(fd, F_GETFD) < 0)
        return -errno;
    moved = hb_ring_reserve(&loop->ring, loop->handles.used + 1);
    if (moved < 0)
        return moved;
    if (!handle)
        handle = handle_new(loop, fd, &error);
    else
        error = look_again(loop, handle, events);
    if (!error)
        error = unsettle(loop, handle);
    if (!error)
        handle->wanted = events;
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
    return loop && hb_state(&loop->owner) != HB_ENDED ? uv_backend_fd(&loop->uv) : -1;
}

const char *hb_backend(hb_loop *loop)
{
    (void)loop;
#if defined(__linux__)
    return "epoll";
#elif defined(__sun)
    return "port";
#elif defined(_AIX)
    return "pollset";
#else
    return "kqueue";
#endif
}

const char *hb_version(void)
{
    return uv_version_string();
}

unsigned int hb_backends(void)
{
    return 0;
}

static int verify(hb_loop *loop)
{
    int fd;
    for (fd = 0; fd < loop->handles.room; fd++) {
        struct handle *handle = hb_table_get(&loop->handles, fd);
        if (handle && (handle->fd != fd || (handle->armed != handle->wanted && !handle->unsettled)))
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
