/*
 * What implementations of hb.cdef.h share: the clock, the ring of fired events, tables, and the check of the caller.
 */
#ifndef HB_SHARED_H
#define HB_SHARED_H

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

enum { HB_READ = 1, HB_WRITE = 2 };
enum { HB_MAX_SLOT = 1 << 26 }; /* tables are dense: a larger number is a mistake, not a wish for gigabytes */

/* -- who may call ----------------------------------------------------------------------------------- */

/* cffi gives up the interpreter's lock for every call, so two threads can really be in here at once: the one that the
   loop belongs to, and one that takes it over to destroy it.  The state says whether a thread is in the loop; a thread
   that enters changes the state, so that only one can.  It also says, for good, that the loop has been destroyed. */
enum { HB_IDLE, HB_BUSY, HB_ENDED };

struct hb_owner {
    pthread_t thread; /* __atomic */
    int state;        /* __atomic */
};

static inline void hb_belong(struct hb_owner *owner)
{
    pthread_t self = pthread_self();
    __atomic_store(&owner->thread, &self, __ATOMIC_RELEASE);
}

static inline int hb_is_stranger(const struct hb_owner *owner)
{
    pthread_t thread;
    __atomic_load(&owner->thread, &thread, __ATOMIC_ACQUIRE);
    return !pthread_equal(thread, pthread_self());
}

static inline int hb_change_state(struct hb_owner *owner, int from, int to)
{
    return __atomic_compare_exchange_n(&owner->state, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline int hb_state(const struct hb_owner *owner)
{
    return __atomic_load_n(&owner->state, __ATOMIC_ACQUIRE);
}

static inline void hb_leave(struct hb_owner *owner)
{
    __atomic_store_n(&owner->state, HB_IDLE, __ATOMIC_RELEASE);
}

/* Enters the loop, if it is the calling thread's and no thread is in it.  0: entered, hb_leave must follow; or -errno.
   Another thread than the owner does not touch the state, which would disturb the owner. */
static inline int hb_enter(struct hb_owner *owner)
{
    if (hb_state(owner) == HB_ENDED)
        return -ENXIO;
    if (hb_is_stranger(owner) || !hb_change_state(owner, HB_IDLE, HB_BUSY))
        return -EPROTO;
    if (!hb_is_stranger(owner))
        return 0;
    hb_leave(owner); /* it was taken over between the two */
    return -EPROTO;
}

static inline int hb_take_over(struct hb_owner *owner)
{
    if (!hb_change_state(owner, HB_IDLE, HB_BUSY))
        return hb_state(owner) == HB_ENDED ? -ENXIO : -EBUSY;
    hb_belong(owner);
    hb_leave(owner);
    return 0;
}

/* -- the bell: how other threads wake the loop ------------------------------------------------------ */

/* It is a descriptor of ours that the loop watches, and not the library's own means, because it must outlive the
   library's loop: a thread that rings while another destroys the loop writes where no thread reads.  The descriptors
   are closed with the last reference to the loop. */
struct hb_bell {
    int reader;
    int writer; /* the same, with eventfd */
};

static inline void hb_bell_close(struct hb_bell *bell)
{
    if (bell->writer >= 0 && bell->writer != bell->reader)
        close(bell->writer);
    if (bell->reader >= 0)
        close(bell->reader);
    bell->reader = bell->writer = -1;
}

static inline int hb_bell_open(struct hb_bell *bell)
{
#ifdef __linux__
    bell->reader = bell->writer = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return bell->reader < 0 ? -errno : 0;
#else
    int ends[2], i;
    if (pipe(ends))
        return -errno;
    bell->reader = ends[0];
    bell->writer = ends[1];
    for (i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, fcntl(ends[i], F_GETFL) | O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
#endif
}

/* A failed write is harmless: the bell rings already.  In a signal handler errno belongs to the interrupted code. */
static inline void hb_bell_ring(const struct hb_bell *bell)
{
    static const uint64_t once = 1;
    int error = errno;
    ssize_t written = write(bell->writer, &once, sizeof once);
    (void)written;
    errno = error;
}

static inline void hb_bell_silence(const struct hb_bell *bell)
{
    char bytes[256];
    while (read(bell->reader, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {
    }
}

/* -- descriptors ---------------------------------------------------------------------------------- */

/* 0 if so many more descriptors can be opened: both libraries end the process if they get none for themselves. */
static inline int hb_room_for(int descriptors)
{
    int fd = open("/", O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : 0;
    if (!error && descriptors > 1)
        error = hb_room_for(descriptors - 1);
    if (fd >= 0)
        close(fd);
    return error;
}

/* Whether a descriptor may be one that can be waited for, and its mode.  kqueue, poll and select take regular
   files and say that they are always ready: a greenlet that waits for one would spin. */
static inline int hb_door(int fd, mode_t *mode)
{
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    *mode = st.st_mode;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? -EPERM : 0;
}

/* -- the clock ------------------------------------------------------------------------------------ */

#ifdef __APPLE__
#define HB_CLOCK CLOCK_UPTIME_RAW /* what Python reads there */
#else
#define HB_CLOCK CLOCK_MONOTONIC
#endif

static inline double hb_clock(void)
{
    struct timespec t;
    clock_gettime(HB_CLOCK, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Rounded up, so that nothing wakes too early; at most some 30 years, far from every overflow. */
static inline struct timespec hb_timespec(double seconds)
{
    struct timespec t;
    double whole;
    seconds = seconds < 0 ? 0 : seconds > 1e9 ? 1e9 : seconds;
    whole = floor(seconds);
    t.tv_sec = (time_t)whole;
    t.tv_nsec = (long)ceil((seconds - whole) * 1e9);
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec += 1;
        t.tv_nsec = 0;
    }
    return t;
}

/* -- the ring ------------------------------------------------------------------------------------- */

/* Room for one more entry is made with each handle, so a push cannot fail and no event is ever lost for
   want of memory. */
struct hb_ring {
    int *pairs;
    int count;
    int room;
};

/* 1: it has moved. */
static inline int hb_ring_reserve(struct hb_ring *ring, int entries)
{
    int room = ring->room ? ring->room : 64;
    int *grown;
    if (entries <= ring->room)
        return 0;
    while (room < entries)
        room *= 2;
    grown = realloc(ring->pairs, (size_t)room * 2 * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    ring->pairs = grown;
    ring->room = room;
    return 1;
}

static inline void hb_ring_push(struct hb_ring *ring, int key, int events)
{
    if (ring->count < ring->room) { /* always so, see above */
        ring->pairs[2 * ring->count] = key;
        ring->pairs[2 * ring->count + 1] = events;
        ring->count++;
    }
}

/* -- a list of numbers ---------------------------------------------------------------------------- */

struct hb_list {
    int *items;
    int count;
    int room;
};

static inline int hb_list_add(struct hb_list *list, int item)
{
    int room = list->room ? 2 * list->room : 64;
    int *grown;
    if (list->count == list->room) {
        grown = realloc(list->items, (size_t)room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        list->items = grown;
        list->room = room;
    }
    list->items[list->count++] = item;
    return 0;
}

/* -- tables: small number -> pointer -------------------------------------------------------------- */

struct hb_table {
    void **items;
    int room;
    int used; /* items that are not NULL */
};

static inline void *hb_table_get(const struct hb_table *table, int i)
{
    return i >= 0 && i < table->room ? table->items[i] : NULL;
}

static inline int hb_table_put(struct hb_table *table, int i, void *item)
{
    int room = table->room ? table->room : 64;
    void **grown;
    if (i < 0 || i > HB_MAX_SLOT)
        return -EINVAL;
    if (i >= table->room) {
        while (room <= i)
            room *= 2;
        grown = realloc(table->items, (size_t)room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        table->items = grown;
        while (table->room < room)
            table->items[table->room++] = NULL;
    }
    table->items[i] = item;
    table->used++;
    return 0;
}

/* Takes the item out; NULL if there is none. */
static inline void *hb_table_take(struct hb_table *table, int i)
{
    void *item = hb_table_get(table, i);
    if (item) {
        table->items[i] = NULL;
        table->used--;
    }
    return item;
}

#endif
