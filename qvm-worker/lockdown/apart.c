#include "qvm-worker/lockdown/apart.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

struct beginning {
    void *(*thread_main)(void *context);
    void *context;
    cpu_set_t cpus; /* that the maker may use */
};

static void *begin(void *data)
{
    struct beginning beginning = *(struct beginning *)data;

    free(data);
    (void)sched_setaffinity(0, sizeof(beginning.cpus), &beginning.cpus); /* as they were */
    return beginning.thread_main(beginning.context);
}

static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*thread_main)(void *),
                  void *context)
{
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(thread, attributes, thread_main, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static int create_elsewhere(pthread_t *thread, struct beginning *beginning)
{
    cpu_set_t others = beginning->cpus;
    pthread_attr_t attributes;
    int cpu = sched_getcpu();
    int r = EINVAL;

    if (cpu < 0 || cpu >= CPU_SETSIZE) {
        return EINVAL;
    }
    CPU_CLR((size_t)cpu, &others);
    if (CPU_COUNT(&others) == 0 || pthread_attr_init(&attributes) != 0) {
        return EINVAL;
    }
    if (pthread_attr_setaffinity_np(&attributes, sizeof(others), &others) == 0) {
        r = create(thread, &attributes, begin, beginning);
    }
    (void)pthread_attr_destroy(&attributes); /* cannot fail */
    return r;
}

int apart_create(pthread_t *thread, void *(*thread_main)(void *context), void *context)
{
    struct beginning *beginning = malloc(sizeof(*beginning));

    if (beginning != NULL) {
        beginning->thread_main = thread_main;
        beginning->context = context;
        if (sched_getaffinity(0, sizeof(beginning->cpus), &beginning->cpus) == 0 &&
            create_elsewhere(thread, beginning) == 0) {
            return 0;
        }
        free(beginning);
    }
    return create(thread, NULL, thread_main, context);
}
