/* Memory that a program of the host shares with guests, and with other programs.
 *
 * A program joins a region by its name: qvmd, asked over its socket, checks who asks and hands it
 * the memory. From then on it is one of at most 16 clients, each of which has a number, can signal
 * the others and is signalled by them, without qvmd. It is a client until it leaves or dies, as
 * qvmd sees its connection end.
 *
 * All of this is one thread's at a time, per handle, but qvm_shmem_notify(), which is anybody's.
 * Functions return 0 or a negative errno. Everybody who shares a region can write all of it at any
 * moment: copy first, then check. See qvm-shmem(3). */
#ifndef QVM_SHMEM_H
#define QVM_SHMEM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QVM_SHMEM_API          __attribute__((visibility("default")))
#define QVM_SHMEM_CLIENTS      16
#define QVM_SHMEM_NAME_MAX     32 /* bytes of a region's name: letters, digits, '.', '-', '_' */
#define QVM_SHMEM_MESSAGE_SIZE 512

struct qvm_shmem;

/* Zero is the usual in each member. */
struct qvm_shmem_options {
    uint32_t size;       /* sizeof(struct qvm_shmem_options) */
    uint32_t timeout_ms; /* for qvmd's answer; 0: ten seconds */
    uint64_t bytes;      /* of the region, if it is not there yet: whole pages of 4096; 0: it must
                            be there */
    const char *socket;  /* qvmd's; NULL: $QVM_SOCKET, or /run/qvm/qvmd.sock */
};

/* Be a client of a region. `options` may be NULL; `message` (NULL: nobody reads it) is a sentence
 * on failure. -ENODATA: there is no such region; -EPERM: the caller may not have it; -EAGAIN: it
 * has all its clients, or qvmd too many connections; -ENOTCONN: nobody listens at the socket, or
 * it hung up; -ETIMEDOUT; -EINVAL: the name or an option; -EPROTO: that is no qvmd. */
QVM_SHMEM_API int qvm_shmem_join(const char *region, const struct qvm_shmem_options *options,
                                 struct qvm_shmem **shmem, char message[QVM_SHMEM_MESSAGE_SIZE]);

/* Be none any more: the memory is gone, the others are told. NULL is fine. */
QVM_SHMEM_API void qvm_shmem_leave(struct qvm_shmem *shmem);

/* The region, as long as it was joined: never cut, whatever becomes of others or of qvmd. */
QVM_SHMEM_API void *qvm_shmem_memory(const struct qvm_shmem *shmem);
QVM_SHMEM_API uint64_t qvm_shmem_size(const struct qvm_shmem *shmem);

/* Which client we are: 0 to QVM_SHMEM_CLIENTS - 1. */
QVM_SHMEM_API unsigned qvm_shmem_client(const struct qvm_shmem *shmem);

/* Signal the clients whose bits are set, ourselves included; of who is not there nobody hears. What
 * was written to the memory before is seen by who was signalled. */
QVM_SHMEM_API void qvm_shmem_notify(const struct qvm_shmem *shmem, uint32_t clients);

enum qvm_shmem_state {
    QVM_SHMEM_JOINED,
    QVM_SHMEM_ALONE, /* qvmd is away: memory and signals go on, who is attached is not known */
    QVM_SHMEM_LOST,  /* a new qvmd knows the region no more, or gave the number to another: memory
                        and signals go on with those who have them; leave, and join anew */
};

struct qvm_shmem_news {
    uint32_t size;     /* sizeof(struct qvm_shmem_news), set by the caller */
    uint32_t signals;  /* bit N: client N has signalled us since the last news */
    uint32_t attached; /* bit N: there is a client N */
    enum qvm_shmem_state state;
};

/* Readable when there may be news: for poll() and its like, and for nothing else. Who never looks
 * is not joined again to a qvmd that was started anew. */
QVM_SHMEM_API int qvm_shmem_fd(const struct qvm_shmem *shmem);

/* The news, without waiting: 1, or 0 when nothing is new (`news` is written in any case). */
QVM_SHMEM_API int qvm_shmem_take(struct qvm_shmem *shmem, struct qvm_shmem_news *news);

/* Wait for news: 0, -ETIMEDOUT, or -EINTR. `timeout_ms` below 0: for ever. */
QVM_SHMEM_API int qvm_shmem_wait(struct qvm_shmem *shmem, int timeout_ms,
                                 struct qvm_shmem_news *news);

#ifdef __cplusplus
}
#endif

#endif
