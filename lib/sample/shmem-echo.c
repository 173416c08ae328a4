/* An example: join a region and answer whoever signals us, until no other client is left.
 *
 * A client that wants an answer writes a text with its end into the first half of the region and
 * signals us; we write it in capitals into the second half and signal back. To be built by
 *   cc shmem-echo.c $(pkg-config --cflags --libs libqvmshmem) */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/shmem.h>

#define TEXT_MAX 256

/* The guest can change its text while we read it: it is copied first, and looked at then. */
static void answer(struct qvm_shmem *shmem, uint32_t clients)
{
    char *memory = qvm_shmem_memory(shmem), text[TEXT_MAX];

    memcpy(text, memory, sizeof(text));
    text[TEXT_MAX - 1] = '\0';
    for (size_t i = 0; text[i] != '\0'; i++) {
        text[i] = (char)toupper((unsigned char)text[i]);
    }
    memcpy(memory + qvm_shmem_size(shmem) / 2, text, sizeof(text));
    qvm_shmem_notify(shmem, clients);
}

static const char *state_word(enum qvm_shmem_state state)
{
    switch (state) {
    case QVM_SHMEM_JOINED:
        return "joined";
    case QVM_SHMEM_ALONE:
        return "alone";
    default:
        return "lost";
    }
}

int main(int argc, char **argv)
{
    struct qvm_shmem_options options = {.size = sizeof(options)};
    struct qvm_shmem_news news = {.size = sizeof(news)};
    char message[QVM_SHMEM_MESSAGE_SIZE];
    struct qvm_shmem *shmem;
    bool had_others = false;

    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: %s REGION [BYTES]\n", argv[0]);
        return 2;
    }
    options.bytes = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (qvm_shmem_join(argv[1], &options, &shmem, message) < 0) {
        (void)fprintf(stderr, "%s: %s\n", argv[0], message);
        return 1;
    }
    printf("client %u of %" PRIu64 " bytes\n", qvm_shmem_client(shmem), qvm_shmem_size(shmem));
    do {
        int r = qvm_shmem_wait(shmem, -1, &news);

        if (r < 0 && r != -EINTR) {
            break;
        }
        printf("%s: signals %#x attached %#x\n", state_word(news.state), news.signals,
               news.attached);
        (void)fflush(stdout);
        if (news.signals != 0) {
            answer(shmem, news.signals);
        }
        had_others = had_others || (news.attached & ~(1u << qvm_shmem_client(shmem))) != 0;
    } while (news.state != QVM_SHMEM_LOST &&
             (!had_others || (news.attached & ~(1u << qvm_shmem_client(shmem))) != 0));
    qvm_shmem_leave(shmem);
    printf("over\n");
    return 0;
}
