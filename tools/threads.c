/*
 * What threads may do to a loop of the C table at the same time, for the thread sanitizer: no Python, no greenlets.
 *
 * A loop is shared as cffi shares it: whoever may call has a reference, and the last one calls hb_free.
 * Compiled with the source of a native loop, by ./do sanitize.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hb.cdef.h"

enum { ROUNDS = 300, WAKERS = 3, POLLS = 20 };

struct shared {
    hb_loop *loop;
    int references; /* __atomic */
    int pipe[2];
};

#define MUST(condition)                                                                                               \
    do                                                                                                                \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                   \
            exit(1);                                                                                                  \
        }                                                                                                             \
    while (0)

static void drop(struct shared *shared)
{
    if (__atomic_sub_fetch(&shared->references, 1, __ATOMIC_ACQ_REL))
        return;
    hb_free(shared->loop);
    close(shared->pipe[0]);
    close(shared->pipe[1]);
    free(shared);
}

/* What a call may say when another thread takes the loop over or destroys it meanwhile. */
static int is_refusal(int result)
{
    return result == -EPROTO || result == -ENXIO;
}

static void *wake_often(void *argument)
{
    struct shared *shared = argument;
    int i;
    for (i = 0; i < 10 * POLLS; i++)
        hb_wake(shared->loop);
    drop(shared);
    return NULL;
}

/* Somebody who has no business with the loop: is refused, and disturbs nobody. */
static void *meddle(void *argument)
{
    struct shared *shared = argument;
    int i;
    for (i = 0; i < POLLS; i++) {
        MUST(is_refusal(hb_poll(shared->loop, 0)));
        MUST(is_refusal(hb_arm(shared->loop, shared->pipe[0], 1)));
        MUST(is_refusal(hb_forget(shared->loop, shared->pipe[0])));
        MUST(is_refusal(hb_verify(shared->loop)));
        MUST(is_refusal(hb_destroy(shared->loop)));
    }
    drop(shared);
    return NULL;
}

/* Somebody who ends the loop as soon as its thread is not in it. */
static void *take_over(void *argument)
{
    struct shared *shared = argument;
    int result;
    while ((result = hb_own(shared->loop)) == -EBUSY)
        usleep(10);
    if (!result)
        MUST(!hb_destroy(shared->loop));
    else
        MUST(result == -ENXIO);
    drop(shared);
    return NULL;
}

/* A loop's own thread.  0, or what it was told when the loop was somebody else's all of a sudden. */
static int use(struct shared *shared)
{
    int i, result;
    for (i = 0; i < POLLS; i++) {
        if ((result = hb_arm(shared->loop, shared->pipe[0], i % 2)) < 0)
            return result;
        if ((result = hb_poll(shared->loop, 0.0001)) < 0)
            return result;
        if ((result = hb_forget(shared->loop, shared->pipe[0])) < 0)
            return result;
    }
    return 0;
}

static void play(int is_taken_over)
{
    struct shared *shared = calloc(1, sizeof *shared);
    pthread_t threads[WAKERS + 1];
    int i, result, error;
    MUST(shared && !pipe(shared->pipe));
    shared->loop = hb_create(0, &error);
    MUST(shared->loop);
    shared->references = WAKERS + 2;
    for (i = 0; i < WAKERS; i++)
        MUST(!pthread_create(&threads[i], NULL, wake_often, shared));
    MUST(!pthread_create(&threads[WAKERS], NULL, is_taken_over ? take_over : meddle, shared));
    result = use(shared);
    if (is_taken_over)
        MUST(!result || is_refusal(result));
    else
        MUST(!result);
    result = hb_destroy(shared->loop);
    MUST(!result || (is_taken_over && is_refusal(result)));
    hb_wake(shared->loop);
    drop(shared);
    for (i = 0; i <= WAKERS; i++)
        MUST(!pthread_join(threads[i], NULL));
}

int main(void)
{
    int round;
    for (round = 0; round < ROUNDS; round++)
        play(round % 2);
    return 0;
}
