// SPDX-License-Identifier: GPL-2.0
/* Prints a few lines and ends. */
#include "rt.h"

int guest(void)
{
	printf("hello: a bare guest, command line \"%s\"\n", rt_command_line);
	for (int i = 1; i <= 5; i++)
		printf("hello: line %d of 5\n", i);
	puts("hello: done");
	return 0;
}
