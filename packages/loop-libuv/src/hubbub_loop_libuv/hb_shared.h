/*
 * What the native loops share: the clock, the ring of fired events, tables and the heap of deadlines.
 * hubbub-loop-libev and hubbub-loop-libuv each hold this text, letter by letter the same.
 *
 * Timers are ours, not the library's.  libuv counts in whole milliseconds, libev's epoll backend waits
 * in whole milliseconds, and neither promises an order among timers of equal deadline.  Here a deadline
 * is a double on the monotonic clock, read when the timer is started; the library is only used to wait
 * until the first one.  A timer never fires before the clock has reached its deadline.
 */
#ifndef HB_SHARED_H
#define HB_SHARED_H

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HB_READ = 1, HB_WRITE = 2, HB_TIMER = 4, HB_STAT = 8 };
enum { HB_MAX_SLOT = 1 << 26 }; /* slots are dense: a larger one is a mistake, not a wish for gigabytes */

/* -- descriptors ---------------------------------------------------------------------------------- */

/* Whether so many more can be opened: both libraries end the process if they get none for themselves. */
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
   files and say that they are always ready: who waits for one would spin. */
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

/* Room is made before each poll for everything that could fire in it, so a push cannot fail and no
   event is ever lost for want of memory. */
struct hb_ring {
    int *pairs;
    int count;
    int room;
};

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
    return 0;
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

/* -- the heap of deadlines ------------------------------------------------------------------------ */

struct hb_alarm {
    double repeat; /* 0: once */
    int key;
    int events; /* what to put into the ring */
    int place;  /* its node's index in the heap, -1 if it is not running */
};

struct hb_node {
    double at;
    uint64_t order; /* of being started: breaks ties */
    struct hb_alarm *alarm;
};

struct hb_heap {
    struct hb_node *nodes;
    int count;
    int room;
    uint64_t started;
};

static inline int hb_before(const struct hb_node *a, const struct hb_node *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static inline void hb_heap_set(struct hb_heap *heap, int i, struct hb_node node)
{
    heap->nodes[i] = node;
    node.alarm->place = i;
}

static inline void hb_heap_up(struct hb_heap *heap, int i)
{
    struct hb_node node = heap->nodes[i];
    while (i > 0 && hb_before(&node, &heap->nodes[(i - 1) / 2])) {
        hb_heap_set(heap, i, heap->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    hb_heap_set(heap, i, node);
}

static inline void hb_heap_down(struct hb_heap *heap, int i)
{
    struct hb_node node = heap->nodes[i];
    int child;
    while ((child = 2 * i + 1) < heap->count) {
        if (child + 1 < heap->count && hb_before(&heap->nodes[child + 1], &heap->nodes[child]))
            child++;
        if (!hb_before(&heap->nodes[child], &node))
            break;
        hb_heap_set(heap, i, heap->nodes[child]);
        i = child;
    }
    hb_heap_set(heap, i, node);
}

static inline void hb_heap_remove(struct hb_heap *heap, struct hb_alarm *alarm)
{
    int i = alarm->place;
    if (i < 0)
        return;
    alarm->place = -1;
    heap->count--;
    if (i < heap->count) {
        hb_heap_set(heap, i, heap->nodes[heap->count]);
        hb_heap_up(heap, i);
        hb_heap_down(heap, i);
    }
}

/* (Re)starts an alarm; memory is only needed for one that is not running. */
static inline int hb_heap_start(struct hb_heap *heap, struct hb_alarm *alarm, double at)
{
    struct hb_node node = {at, heap->started++, alarm};
    struct hb_node *grown;
    int room = heap->room ? 2 * heap->room : 64;
    if (alarm->place < 0) {
        if (heap->count == heap->room) {
            grown = realloc(heap->nodes, (size_t)room * sizeof *grown);
            if (!grown)
                return -ENOMEM;
            heap->nodes = grown;
            heap->room = room;
        }
        alarm->place = heap->count++;
    }
    heap->nodes[alarm->place] = node;
    hb_heap_up(heap, alarm->place);
    hb_heap_down(heap, alarm->place);
    return 0;
}

static inline double hb_heap_first(const struct hb_heap *heap)
{
    return heap->count ? heap->nodes[0].at : INFINITY;
}

/* The next deadline of a repeating alarm: on its grid, or if that has passed already, as soon as
   possible, but never now, or one that repeats every nanosecond would keep us here. */
static inline double hb_next_deadline(double at, double repeat, double now)
{
    at += repeat;
    return at > now ? at : nextafter(now, INFINITY);
}

/* The alarm that is due first, taken out of the heap or moved on to its next deadline; NULL if none is. */
static inline struct hb_alarm *hb_heap_due(struct hb_heap *heap, double now)
{
    struct hb_alarm *alarm;
    if (!heap->count || heap->nodes[0].at > now)
        return NULL;
    alarm = heap->nodes[0].alarm;
    if (alarm->repeat > 0)
        hb_heap_start(heap, alarm, hb_next_deadline(heap->nodes[0].at, alarm->repeat, now));
    else
        hb_heap_remove(heap, alarm);
    return alarm;
}

static inline int hb_heap_verify(const struct hb_heap *heap)
{
    int i;
    for (i = 0; i < heap->count; i++)
        if (heap->nodes[i].alarm->place != i || (i && hb_before(&heap->nodes[i], &heap->nodes[(i - 1) / 2])))
            return -EFAULT;
    return 0;
}

/* -- timers: a table of alarms -------------------------------------------------------------------- */

static inline int hb_timers_start(struct hb_table *timers, struct hb_heap *heap, int slot, double after, double repeat)
{
    struct hb_alarm *alarm = hb_table_get(timers, slot);
    int error;
    if (isnan(after) || !(repeat >= 0))
        return -EINVAL;
    if (!alarm) {
        alarm = malloc(sizeof *alarm);
        if (!alarm)
            return -ENOMEM;
        *alarm = (struct hb_alarm){0, slot, HB_TIMER, -1};
        error = hb_table_put(timers, slot, alarm);
        if (error) {
            free(alarm);
            return error;
        }
    }
    alarm->repeat = repeat;
    return hb_heap_start(heap, alarm, hb_clock() + (after > 0 ? after : 0));
}

static inline int hb_timers_stop(struct hb_table *timers, struct hb_heap *heap, int slot)
{
    struct hb_alarm *alarm = hb_table_get(timers, slot);
    if (alarm)
        hb_heap_remove(heap, alarm);
    return 0;
}

static inline void hb_timers_drop(struct hb_table *timers, struct hb_heap *heap)
{
    int slot;
    for (slot = 0; slot < timers->room; slot++) {
        struct hb_alarm *alarm = hb_table_take(timers, slot);
        if (alarm)
            hb_heap_remove(heap, alarm);
        free(alarm);
    }
}

/* -- stats: a table of paths looked at by alarms ---------------------------------------------------- */

struct hb_watch {
    struct hb_alarm alarm; /* first: the heap's pointer is ours */
    struct stat last;
    char *path;
};

/* A path that leads nowhere is all zeros: no links. */
static inline void hb_look(const char *path, struct stat *st)
{
    memset(st, 0, sizeof *st);
    if (stat(path, st))
        memset(st, 0, sizeof *st);
}

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

static inline int hb_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static inline int hb_same_stat(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink &&
           a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_rdev == b->st_rdev && a->st_size == b->st_size &&
           hb_same_time(a->st_mtim, b->st_mtim) && hb_same_time(a->st_ctim, b->st_ctim);
}

/* Looks, and puts an entry into the ring if something has changed since the last look. */
static inline void hb_watch_look(struct hb_watch *watch, struct hb_ring *ring)
{
    struct stat st;
    hb_look(watch->path, &st);
    if (!hb_same_stat(&st, &watch->last))
        hb_ring_push(ring, watch->alarm.key, HB_STAT);
    watch->last = st;
}

/* Takes a watch out of the table and the heap; the caller frees it. */
static inline struct hb_watch *hb_watch_stop(struct hb_table *stats, struct hb_heap *heap, int slot)
{
    struct hb_watch *watch = hb_table_take(stats, slot);
    if (watch) {
        hb_heap_remove(heap, &watch->alarm);
        free(watch->path);
    }
    return watch;
}

/* Starts a new watch of the slot, which is free.  On an error the caller still owns it. */
static inline int hb_watch_start(struct hb_watch *watch, struct hb_table *stats, struct hb_heap *heap, int slot,
                                 const char *path, double interval)
{
    int error;
    interval = !(interval > 0) ? 5.0 : interval < 0.1 ? 0.1 : interval;
    watch->alarm = (struct hb_alarm){interval, slot, HB_STAT, -1};
    watch->path = strdup(path);
    error = watch->path ? hb_table_put(stats, slot, watch) : -ENOMEM;
    if (error) {
        free(watch->path);
        return error;
    }
    hb_look(path, &watch->last);
    error = hb_heap_start(heap, &watch->alarm, hb_clock() + interval);
    if (error)
        hb_watch_stop(stats, heap, slot);
    return error;
}

/* -- what is due ------------------------------------------------------------------------------------ */

static inline void hb_collect(struct hb_heap *heap, struct hb_ring *ring, double now)
{
    struct hb_alarm *alarm;
    while ((alarm = hb_heap_due(heap, now)))
        if (alarm->events == HB_TIMER)
            hb_ring_push(ring, alarm->key, HB_TIMER);
        else
            hb_watch_look((struct hb_watch *)alarm, ring);
}

#endif
