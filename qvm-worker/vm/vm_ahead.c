/* A VM made ahead. */
#include "qvm-worker/vm/vm_ahead.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/lockdown/apart.h"
#include "qvm-worker/lockdown/confine.h"
#include "qvm-worker/vm/cpuid.h"

struct vm_ahead {
    int kvm_fd, thread_kvm_fd;
    pthread_t thread;
    bool is_over;            /* the thread is not ours any more: it went on, or was joined */
    sem_t has_vm, has_cpuid; /* posted once, and again by each who has waited */
    bool is_kvm;
    int vm_fd;
    struct kvm_cpuid2 *cpuid;
    struct err err; /* why there is no CPUID */
    sem_t has_next;
    void *(*next)(void *context); /* NULL: the thread ends */
    void *next_context;
};

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        /* a signal came */
    }
}

/* What stays true once it is. */
static void await_for_good(sem_t *semaphore)
{
    await(semaphore);
    (void)sem_post(semaphore); /* cannot overflow: it was taken before */
}

static void *ahead_main(void *context)
{
    struct vm_ahead *ahead = context;

    if (confine_from_host(NULL) == 0) { /* else the control thread will say why */
        ahead->vm_fd = ioctl(ahead->thread_kvm_fd, KVM_CREATE_VM, 0);
    }
    ahead->is_kvm = ahead->vm_fd >= 0;
    (void)sem_post(&ahead->has_vm);                                       /* cannot overflow */
    (void)cpuid_create(ahead->thread_kvm_fd, &ahead->cpuid, &ahead->err); /* who asks is told */
    cleanup_close(&ahead->thread_kvm_fd);
    (void)sem_post(&ahead->has_cpuid);
    await(&ahead->has_next);
    return ahead->next != NULL ? ahead->next(ahead->next_context) : NULL;
}

static void destroy(struct vm_ahead *ahead)
{
    (void)sem_destroy(&ahead->has_next); /* nobody waits */
    (void)sem_destroy(&ahead->has_cpuid);
    (void)sem_destroy(&ahead->has_vm);
    cleanup_close(&ahead->vm_fd);
    cleanup_close(&ahead->thread_kvm_fd); /* if there was no thread */
    cleanup_close(&ahead->kvm_fd);
    free(ahead->cpuid);
    free(ahead);
}

struct vm_ahead *vm_ahead_start(int kvm_fd)
{
    struct vm_ahead *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        cleanup_close(&kvm_fd);
        return NULL;
    }
    new->kvm_fd = kvm_fd;
    new->thread_kvm_fd = fcntl(kvm_fd, F_DUPFD_CLOEXEC, 3); /* -1: then there is no VM, either */
    new->vm_fd = -1;
    (void)sem_init(&new->has_vm, 0, 0); /* cannot fail for 0 */
    (void)sem_init(&new->has_cpuid, 0, 0);
    (void)sem_init(&new->has_next, 0, 0);
    if (apart_create(&new->thread, ahead_main, new) != 0) {
        destroy(new);
        return NULL;
    }
    return new;
}

static void end_thread(struct vm_ahead *ahead)
{
    if (!ahead->is_over) {
        (void)sem_post(&ahead->has_next);
        (void)pthread_join(ahead->thread, NULL); /* fails for a programmer's error alone */
        ahead->is_over = true;
    }
}

void vm_ahead_destroy(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    end_thread(ahead);
    destroy(ahead);
}

int vm_ahead_kvm_fd(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return -1;
    }
    await_for_good(&ahead->has_vm);
    return ahead->is_kvm ? ahead->kvm_fd : -1;
}

int vm_ahead_take_vm(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return -1;
    }
    await_for_good(&ahead->has_vm);
    return take_fd(&ahead->vm_fd);
}

void vm_ahead_settle(struct vm_ahead *ahead)
{
    if (ahead != NULL) {
        end_thread(ahead);
        cleanup_close(&ahead->kvm_fd);
    }
}

int vm_ahead_cpuid(struct vm_ahead *ahead, const struct kvm_cpuid2 **cpuid, struct err *err)
{
    await_for_good(&ahead->has_cpuid);
    *cpuid = ahead->cpuid;
    return *cpuid != NULL ? 0 : err_set(err, ahead->err.code, "%s", ahead->err.msg);
}

bool vm_ahead_go_on(struct vm_ahead *ahead, void *(*thread_main)(void *context), void *context,
                    pthread_t *thread)
{
    if (vm_ahead_kvm_fd(ahead) < 0 || pthread_kill(ahead->thread, 0) != 0) {
        return false;
    }
    *thread = ahead->thread;
    ahead->is_over = true;
    ahead->next_context = context;
    ahead->next = thread_main;
    (void)sem_post(&ahead->has_next); /* cannot overflow: once */
    return true;
}
