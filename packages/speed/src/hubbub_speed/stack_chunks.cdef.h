/*
 * A cache of CPython's data-stack chunks, see stack_chunks.c.
 * cffi reads this as the cdef, the compiler as a header.
 */

struct hs_statistics {
    uint64_t kept;   /* bytes in the cache */
    uint64_t limit;  /* bytes it may hold, 0 if it is not installed */
    uint64_t hits;   /* chunks that came from the cache */
    uint64_t misses; /* chunks that the cache had to allocate */
};

/* Installs the cache, or changes the limit of the one that is installed. */
void hs_install(uint64_t limit);

/* Empties the cache and removes it.  1; 0 if another allocator was installed over this one, which then
   stays in the chain and only passes on. */
int hs_uninstall(void);

void hs_read_statistics(struct hs_statistics *statistics);
