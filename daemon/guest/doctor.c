/* Findings about the host. */
#include "daemon/guest/doctor.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/host/clock.h"
#include "daemon/host/kvm.h"
#include "daemon/host/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SHMEM_FILE   "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define PID_MAX_FILE "/proc/sys/kernel/pid_max"
#define TEXT_SIZE    256
#define WORDS_SIZE   1024

#define FILES_A_GUEST   8   /* descriptors of qvmd for a small guest: pidfd, sockets, statistics */
#define FILES_OF_QVMD   128 /* and for itself and its clients */
#define PIDS_A_GUEST    8   /* threads of a small qvm, and helpers */
#define PIDS_OF_HOST    4096
#define CLOCK_SLACK_NS  INT64_C(5000000000)
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_8_ECX_SVM (1u << 2)

static const char *const severities[] = {
    [DOCTOR_PROBLEM] = "problem", [DOCTOR_WARNING] = "warning", [DOCTOR_HINT] = "hint"};

static bool make_room(struct doctor *doctor)
{
    struct msg_diagnosis *diagnosis = &doctor->diagnosis;

    if (diagnosis->findings_count == DOCTOR_FINDINGS_MAX) {
        return false;
    }
    if (diagnosis->findings_count == doctor->room) {
        size_t room = doctor->room == 0 ? 16 : 2 * doctor->room;
        struct msg_finding *grown = reallocarray(diagnosis->findings, room, sizeof(*grown));

        if (grown == NULL) {
            return false;
        }
        diagnosis->findings = grown;
        doctor->room = room;
    }
    return true;
}

void doctor_find(struct doctor *doctor, enum doctor_severity severity, const char *what,
                 const char *where, const char *advice, const char *format, ...)
{
    char words[WORDS_SIZE];
    struct msg_finding finding = {0};
    va_list args;

    va_start(args, format);
    (void)vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    finding.severity = strdup(severities[severity]);
    finding.what = strdup(what);
    finding.where = strdup(where);
    finding.advice = strdup(advice);
    finding.message = strdup(words);
    doctor->diagnosis.problems += severity == DOCTOR_PROBLEM;
    doctor->diagnosis.warnings += severity == DOCTOR_WARNING;
    if (finding.severity == NULL || finding.what == NULL || finding.where == NULL ||
        finding.advice == NULL || finding.message == NULL || !make_room(doctor)) {
        msg_fini(MSG_finding, &finding);
        doctor->diagnosis.left_out++;
        return;
    }
    doctor->diagnosis.findings[doctor->diagnosis.findings_count++] = finding;
}

/* Whether the CPU tells of virtualization. KVM may work without (nested in ways of its own, or
 * emulated by the kernel), but then a guest's kernel is far slower. */
static bool has_virtualization(void)
{
    unsigned a, b, c, d;

    if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & CPUID_1_ECX_VMX) != 0) {
        return true;
    }
    return __get_cpuid(0x80000001u, &a, &b, &c, &d) != 0 && (c & CPUID_8_ECX_SVM) != 0;
}

static void look_at_kvm(struct doctor *doctor)
{
    auto_close int fd = -1;
    struct err err = {0};

    if (kvm_open(KVM_DEVICE, &fd, &err) < 0) {
        doctor_find(doctor, DOCTOR_PROBLEM, "kvm", KVM_DEVICE,
                    "mend that; no guest can be started before", "%s", err.msg);
    } else if (!has_virtualization()) {
        doctor_find(doctor, DOCTOR_HINT, "kvm-emulated", KVM_DEVICE,
                    "switch virtualization on in the firmware, or for this virtual machine",
                    "this CPU tells of no virtualization: KVM may emulate what a guest's kernel "
                    "does, hundreds of times slower");
    }
}

/* "always within_size advise [never] deny force" */
static void look_at_huge_pages(struct doctor *doctor)
{
    char text[TEXT_SIZE];

    if (text_read(SHMEM_FILE, text, sizeof(text), NULL) == 0 && strstr(text, "[never]") != NULL) {
        doctor_find(doctor, DOCTOR_HINT, "huge-pages", SHMEM_FILE,
                    "echo advise > " SHMEM_FILE "; for each boot, put `w " SHMEM_FILE
                    " - - - - advise` into /etc/tmpfiles.d/qvm.conf",
                    "guest RAM gets pages of 4 KiB, since huge ones are switched off for shared "
                    "memory: guests boot and run more slowly");
    }
}

static void look_at_limits(struct doctor *doctor, size_t guests)
{
    char text[TEXT_SIZE];
    struct rlimit files;
    uint64_t wanted = FILES_OF_QVMD + (uint64_t)guests * FILES_A_GUEST;
    int64_t pids;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < wanted) {
        doctor_find(doctor, DOCTOR_WARNING, "limit-files", "qvmd",
                    "raise LimitNOFILE= of qvmd.service, or `ulimit -n`, and restart qvmd",
                    "qvmd may have %" PRIu64 " open files; with %zu guests it needs about %" PRIu64,
                    (uint64_t)files.rlim_cur, guests, wanted);
    }
    wanted = PIDS_OF_HOST + (uint64_t)guests * PIDS_A_GUEST;
    if (text_read(PID_MAX_FILE, text, sizeof(text), NULL) == 0) {
        pids = strtoll(text, NULL, 10);
        if (pids > 0 && (uint64_t)pids < wanted) {
            doctor_find(doctor, DOCTOR_WARNING, "limit-pids", PID_MAX_FILE,
                        "sysctl -w kernel.pid_max=4194304",
                        "this host may have %" PRId64 " threads; with %zu guests it needs about "
                        "%" PRIu64,
                        pids, guests, wanted);
        }
    }
}

static void look_at_clock(struct doctor *doctor, const char *last_event)
{
    int64_t last_ns = 0, now_ns = clock_real_ns();

    if (last_event != NULL && clock_parse(last_event, &last_ns) == 0 &&
        last_ns > now_ns + CLOCK_SLACK_NS) {
        doctor_find(doctor, DOCTOR_WARNING, "clock", "clock",
                    "see that the clock is right (timedatectl); times shown before it was set are "
                    "wrong, numbers of events are not",
                    "the clock went back: the newest event is of %s, %" PRId64 " s later than now",
                    last_event, (last_ns - now_ns) / INT64_C(1000000000));
    }
}

static void look_at_programs(struct doctor *doctor, const char *qvm_path, const char *vdev_dir)
{
    if (access(qvm_path, X_OK) != 0) {
        doctor_find(doctor, DOCTOR_PROBLEM, "programs", qvm_path,
                    "install it there, or name another by the option 'qvm' of qvmd.conf or by "
                    "qvmd --worker",
                    "guests cannot be started: the program that hosts them: %s", strerror(errno));
    }
    if (access(vdev_dir, X_OK) != 0) {
        doctor_find(doctor, DOCTOR_PROBLEM, "programs", vdev_dir,
                    "install them there, or name another directory by the option 'vdev-dir' of "
                    "qvmd.conf or by qvmd --vdevs",
                    "guests cannot be started: the directory of vdevs: %s", strerror(errno));
    }
}

void doctor_look_at_host(struct doctor *doctor, const struct doctor_host *host)
{
    look_at_kvm(doctor);
    look_at_programs(doctor, host->qvm_path, host->vdev_dir);
    look_at_huge_pages(doctor);
    look_at_limits(doctor, host->guests);
    look_at_clock(doctor, host->last_event);
    if (host->degraded != NULL) {
        doctor_find(doctor, DOCTOR_PROBLEM, "store", host->store_path,
                    "mend that; until then nothing is defined or started, and what happens is kept "
                    "in memory alone",
                    "the store cannot be written: %s", host->degraded);
    }
    if (host->stuck_hands > 0) {
        doctor_find(doctor, DOCTOR_PROBLEM, "hand-stuck", "qvmd",
                    "look for a file system that does not answer (ps -eo pid,stat,wchan,args | "
                    "grep ' D'), and mend or unmount it",
                    "%zu helper processes of qvmd were killed and do not go", host->stuck_hands);
    }
}
