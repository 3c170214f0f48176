// SPDX-License-Identifier: GPL-2.0
/* ftctl: the operator's command. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include "ftctl.h"

static void print_usage(FILE *to)
{
	const struct ftctl_command *c;

	fputs("Usage: ftctl [-j] COMMAND ...\n\n", to);
	for (c = ftctl_commands; c->name; c++)
		fprintf(to, "  %s\n        %s\n", c->usage, c->what);
	fputs("\n"
	      "BACKEND is tty:PATH, file:PATH, socket:PATH or pty; ID that of a -chardev ringbuf.\n"
	      "-j prints JSON; --control PATH names ftd's socket (" FT_CONTROL_SOCKET ").\n"
	      "Commands that do no harm can be abbreviated; the first that fits, in this order, is taken. See ftctl(8).\n",
	      to);
}

int main(int argc, char **argv)
{
	const struct ftctl_command *command;
	struct ftctl ctl;
	struct fterr err;
	int i, ret;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	if (argc == 2 && !strcmp(argv[1], "help")) {
		print_usage(stdout);
		return FTCTL_OK;
	}
	if (ftctl_parse(&ctl, &command, argc - 1, argv + 1, &err)) {
		fprintf(stderr, "ftctl: %s; see: ftctl --help\n", err.text);
		return FTCTL_USAGE;
	}
	if (!command) {
		for (i = 1; i < argc; i++)
			if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V"))
				break;
		if (i < argc)
			printf("ftctl, ftkvm %s\n", FTKVM_VERSION);
		else
			print_usage(stdout);
		return FTCTL_OK;
	}
	ret = command->run(&ctl);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "ftctl: cannot write: %s\n", strerror(errno));
		return FTCTL_REFUSED;
	}
	return ret;
}
