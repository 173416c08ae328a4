/* guest.bzimage and its like obey the commands of commands.c and no others. */
#include "tests/guests/bare/commands.h"

const struct command more_commands[1];
const unsigned more_command_count = 0;
