// SPDX-License-Identifier: GPL-2.0
/* What tests/fuzz/run asks of a target beside libFuzzer's own options. */
#include <err.h>
#include <unistd.h>

#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *seeds_dir;
static unsigned int nseeds;

void fuzz_seed(const void *data, size_t len)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/seed%03u", seeds_dir, nseeds++);
	f = fopen(path, "w");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		err(1, "%s", path);
}

extern struct fuzz_mark __start_fuzz_marks[], __stop_fuzz_marks[];

static void tell_marks(void)
{
	const struct fuzz_mark *m;

	for (m = __start_fuzz_marks; m < __stop_fuzz_marks; m++)
		fprintf(stderr, "%s: %s, %llu times\n", m->n ? "reached" : "never reached",
			m->what, (unsigned long long)m->n);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	seeds_dir = getenv("FTKVM_FUZZ_SEEDS");
	if (seeds_dir) {
		fuzz_seeds();
		_exit(0);
	}
	if (getenv("FTKVM_FUZZ_MARKS"))
		atexit(tell_marks);
	return 0;
}
