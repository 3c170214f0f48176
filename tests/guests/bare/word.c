// SPDX-License-Identifier: GPL-2.0
#include "rt.h"

/* The value of "name=value", "" for the word alone, NULL if it is not there. */
const char *rt_word(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = rt_command_line; *p; p++) {
		if ((p != rt_command_line && p[-1] != ' ') || memcmp(p, name, n))
			continue;
		if (p[n] == '=')
			return p + n + 1;
		if (!p[n] || p[n] == ' ')
			return "";
	}
	return NULL;
}
