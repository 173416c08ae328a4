/* At build time: print the API document that qvmd answers to rpc.discover. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"

int main(void)
{
    auto_free char *document = msg_openrpc(QVM_VERSION);

    if (document == NULL || puts(document) < 0 || fflush(stdout) != 0) {
        (void)fputs("openrpc_print: the document cannot be written\n", stderr);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
