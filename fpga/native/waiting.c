/* Waiting awake for a moment: waking a thread that sleeps takes longer than many a part of a step. */
#include <sched.h>
#include <stdint.h>
#include <time.h>

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

/* Whether `*word` is another one than `value` before `longest` nanoseconds are over; then `settling` more are waited.
 * Who has something to do on this core does it meanwhile. */
int wait_awake(const uint32_t *word, uint32_t value, int64_t longest, int64_t settling) {
    int64_t end = now() + longest;
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) {
        if (now() > end) return 0;
        sched_yield();
    }
    for (end = now() + settling; settling && now() < end;) sched_yield();
    return 1;
}
