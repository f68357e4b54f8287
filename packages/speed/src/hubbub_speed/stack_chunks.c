/*
 * Keeps freed data-stack chunks for the next greenlet.
 *
 * Since 3.11 CPython puts the frames of Python functions on a data stack per thread, made of chunks of
 * 16 KiB.  Every greenlet has such a stack of its own.  Chunks come from the arena allocator, that is
 * mmap, and go back to it with munmap: most of the time that creating and dropping a greenlet takes.
 *
 * What must be right:
 *
 * - The arena allocator serves pymalloc's arenas too (256 KiB or 1 MiB), and larger chunks for large
 *   frames.  The cache serves only requests of exactly 16 KiB; all others pass through.
 * - Chunks that were allocated before the cache was installed are given back to it later, and chunks from
 *   the cache may be given back after it was removed.  Both are right: every chunk was once allocated by
 *   the allocator below this one (`below`), and is never cut or joined, so its free takes any of them.
 * - Allocation happens with the GIL held, but each interpreter of a process may have its own, and a
 *   thread's last chunks are freed while it ends.  So there is a lock.  It is held for a few instructions
 *   and never across a call, hence it spins.
 * - fork must not happen while another thread holds it: the child would spin for ever.
 */
#include <Python.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include "stack_chunks.cdef.h"

#ifdef Py_GIL_DISABLED
#error "hubbub-speed is not for free-threaded builds of CPython"
#endif

enum { CHUNK = 16 * 1024 };

/* A chunk in the cache holds the pointer to the next. */
struct chunk {
    struct chunk *next;
};

static atomic_flag busy = ATOMIC_FLAG_INIT;
static struct chunk *first;
static struct hs_statistics totals;
static PyObjectArenaAllocator below;
static int installed;

/* -- the lock ------------------------------------------------------------------------------------- */

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        sched_yield();
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* -- the cache ------------------------------------------------------------------------------------ */

static void *cache_take(void)
{
    struct chunk *chunk;
    lock();
    chunk = first;
    if (chunk) {
        first = chunk->next;
        totals.kept -= CHUNK;
        totals.hits++;
    } else {
        totals.misses++;
    }
    unlock();
    return chunk;
}

/* 0 if there is no room. */
static int cache_put(struct chunk *chunk)
{
    int room;
    lock();
    room = totals.kept + CHUNK <= totals.limit;
    if (room) {
        chunk->next = first;
        first = chunk;
        totals.kept += CHUNK;
    }
    unlock();
    return room;
}

/* Removes a chunk above the limit from the cache; NULL if there is none. */
static void *cache_surplus(void)
{
    struct chunk *chunk = NULL;
    lock();
    if (totals.kept > totals.limit) {
        chunk = first;
        first = chunk->next;
        totals.kept -= CHUNK;
    }
    unlock();
    return chunk;
}

static void set_limit(uint64_t limit)
{
    void *chunk;
    lock();
    totals.limit = limit;
    unlock();
    while ((chunk = cache_surplus()))
        below.free(below.ctx, chunk, CHUNK);
}

/* -- the allocator that Python sees ------------------------------------------------------------------ */

static void *take(void *context, size_t size)
{
    void *chunk = size == CHUNK ? cache_take() : NULL;
    (void)context;
    return chunk ? chunk : below.alloc(below.ctx, size);
}

static void give(void *context, void *block, size_t size)
{
    (void)context;
    if (size != CHUNK || !cache_put(block))
        below.free(below.ctx, block, size);
}

/* -- in and out: with the GIL, which cffi has released ------------------------------------------------ */

static void put_in(void)
{
    static int registered;
    PyObjectArenaAllocator ours = {NULL, take, give};
    if (!registered) {
        pthread_atfork(lock, unlock, unlock);
        registered = 1;
    }
    PyObject_GetArenaAllocator(&below);
    PyObject_SetArenaAllocator(&ours);
    installed = 1;
}

static void take_out(void)
{
    PyObjectArenaAllocator current;
    PyObject_GetArenaAllocator(&current);
    if (current.alloc == take) {
        PyObject_SetArenaAllocator(&below);
        installed = 0;
    }
}

void hs_install(uint64_t limit)
{
    PyGILState_STATE state = PyGILState_Ensure();
    if (!installed)
        put_in();
    set_limit(limit);
    PyGILState_Release(state);
}

int hs_uninstall(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    int out;
    if (installed) {
        take_out();
        set_limit(0);
    }
    out = !installed;
    PyGILState_Release(state);
    return out;
}

void hs_read_statistics(struct hs_statistics *statistics)
{
    lock();
    *statistics = totals;
    unlock();
}
