#include "proto/base/span.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"

bool span_parse(const char *text, int64_t most, int64_t *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}};
    size_t number = strspn(text, "0123456789.");
    char *end = NULL;
    double value;

    if (number == 0 || number > SPAN_TEXT_MAX) {
        return false;
    }
    value = strtod(text, &end);
    for (size_t i = 0; i < ARRAY_LEN(units) && end == text + number; i++) {
        if (strcmp(end, units[i].name) == 0 && value * units[i].ms <= (double)most) {
            *ms = (int64_t)(value * units[i].ms + 0.5);
            return true;
        }
    }
    return false;
}
