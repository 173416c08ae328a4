/* A VM made ahead. */
#include "qvm-worker/vm/vm_ahead.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/lockdown/apart.h"
#include "qvm-worker/vm/cpuid.h"

struct vm_ahead {
    int kvm_fd;
    pthread_t thread;
    bool is_joined;
    sem_t has_vm; /* posted when vm_fd is set */
    bool is_awaited;
    int vm_fd;
    struct kvm_cpuid2 *cpuid;
};

static void *ahead_main(void *context)
{
    struct vm_ahead *ahead = context;

    ahead->vm_fd = ioctl(ahead->kvm_fd, KVM_CREATE_VM, 0);
    (void)sem_post(&ahead->has_vm);                         /* cannot overflow: once */
    (void)cpuid_create(ahead->kvm_fd, &ahead->cpuid, NULL); /* who makes it again says why */
    return NULL;
}

struct vm_ahead *vm_ahead_start(int kvm_fd)
{
    struct vm_ahead *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        cleanup_close(&kvm_fd);
        return NULL;
    }
    new->kvm_fd = kvm_fd;
    new->vm_fd = -1;
    (void)sem_init(&new->has_vm, 0, 0); /* cannot fail for 0 */
    if (apart_create(&new->thread, ahead_main, new) != 0) {
        new->is_joined = true;
        vm_ahead_destroy(new);
        return NULL;
    }
    return new;
}

static void join(struct vm_ahead *ahead)
{
    if (!ahead->is_joined) {
        (void)pthread_join(ahead->thread, NULL); /* fails for a programmer's error alone */
        ahead->is_joined = true;
    }
}

void vm_ahead_destroy(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    join(ahead);
    (void)sem_destroy(&ahead->has_vm); /* nobody waits */
    cleanup_close(&ahead->vm_fd);
    cleanup_close(&ahead->kvm_fd);
    free(ahead->cpuid);
    free(ahead);
}

static void await_vm(struct vm_ahead *ahead)
{
    while (!ahead->is_awaited) {
        ahead->is_awaited = sem_wait(&ahead->has_vm) == 0; /* else a signal came */
    }
}

int vm_ahead_kvm_fd(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return -1;
    }
    await_vm(ahead);
    return ahead->vm_fd >= 0 ? ahead->kvm_fd : -1;
}

int vm_ahead_take_vm(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return -1;
    }
    await_vm(ahead);
    return take_fd(&ahead->vm_fd);
}

struct kvm_cpuid2 *vm_ahead_take_cpuid(struct vm_ahead *ahead)
{
    if (ahead == NULL) {
        return NULL;
    }
    join(ahead);
    return take_ptr(ahead->cpuid);
}
