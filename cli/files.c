/* Several files on one command line, each of them a guest of its own. */
#include "cli/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/sources.h"
#include "proto/base/err.h"

bool files_are_meant(char *const *arguments, int count)
{
    static const char suffix[] = ".qvmconf";

    for (int i = 0; i < count; i++) {
        size_t size = strlen(arguments[i]);

        if (arguments[i][0] == '@' || size < sizeof(suffix) ||
            strcmp(arguments[i] + size - (sizeof(suffix) - 1), suffix) != 0) {
            return false;
        }
    }
    return count > 1;
}

/* The file that was read before and describes the guest `name`, or NULL. */
static const char *find_same(const struct files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->names[i], name) == 0) {
            return files->sources[i].definition.sources[0].name;
        }
    }
    return NULL;
}

int files_read(struct files *files, char **arguments, int count, struct err *err)
{
    size_t room = (size_t)count + 1;

    *files = (struct files){.sources = calloc(room, sizeof(*files->sources)),
                            .names = calloc(room, sizeof(*files->names)),
                            .definitions = calloc(room, sizeof(struct msg_definition *))};
    if (files->sources == NULL || files->names == NULL || files->definitions == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (int i = 0; i < count; i++) {
        struct sources *sources = &files->sources[files->count];
        struct err why = {0};
        const char *same;

        if (sources_read(sources, &arguments[i], 1, &why) != 0) {
            sources_fini(sources);
            files->missed++;
            (void)cli_fail(&why);
            continue;
        }
        same = find_same(files, sources->name);
        if (same != NULL) {
            (void)err_set(err, -EEXIST, "'%s' and '%s' both describe the guest '%s'", same,
                          arguments[i], sources->name);
            sources_fini(sources);
            return -EEXIST;
        }
        files->names[files->count] = sources->name;
        files->definitions[files->count++] = &sources->definition;
    }
    return 0;
}

void files_fini(struct files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        sources_fini(&files->sources[i]);
    }
    free(files->sources);
    free(files->names);
    free(files->definitions);
    *files = (struct files){0};
}

int files_status(const struct files *files, int status)
{
    if (files->missed == 0 && (status == STATUS_OK || files->count > 1)) {
        return status;
    }
    return status == STATUS_UNREACHABLE ? status : STATUS_SOME_FAILED;
}
