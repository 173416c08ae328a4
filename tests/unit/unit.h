/* What every unit test ends with: one suite, run in processes of its own, exit status 0 or 1. */
#ifndef QVM_TESTS_UNIT_H
#define QVM_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

/* Run `tests`, each between setup() and teardown() in its process (both may be NULL). */
static inline int unit_run(const char *name, const TTest *const *tests, size_t count, SFun setup,
                           SFun teardown)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int failed;

    if (setup != NULL || teardown != NULL) {
        tcase_add_checked_fixture(tcase, setup, teardown);
    }
    for (size_t i = 0; i < count; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A function that does that: UNIT_RUN(run_all, "words", setup, teardown, test, test, ...) */
#define UNIT_RUN(function, name, setup, teardown, ...)                                             \
    static int function(void)                                                                      \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
                                                                                                   \
        return unit_run(name, tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);           \
    }

/* UNIT_MAIN("words", test, test, ...) */
#define UNIT_MAIN(name, ...) UNIT_MAIN_WITH(name, NULL, NULL, __VA_ARGS__)
#define UNIT_MAIN_WITH(name, setup, teardown, ...)                                                 \
    UNIT_RUN(run_all, name, setup, teardown, __VA_ARGS__)                                          \
    int main(void)                                                                                 \
    {                                                                                              \
        return run_all();                                                                          \
    }

#endif
