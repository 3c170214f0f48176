// SPDX-License-Identifier: GPL-2.0
/*
 * Are KVM's modules the ones whose private structures this module was built
 * for? A build ID names a binary exactly; sysfs shows that of a loaded module.
 */
#include <linux/elf.h>
#include <linux/fs.h>
#include <linux/hex.h>
#include <linux/utsname.h>
#include "buildid.h"
#include "vendor.h"
#include "layout.h"

#define BUILDID_MAX	32

/* The build ID of a loaded module as hexadecimal text. */
static int buildid_read(const char *module, char *text, size_t size)
{
	char path[80], note[sizeof(struct elf64_note) + 4 + BUILDID_MAX];
	struct elf64_note *n = (struct elf64_note *)note;
	struct file *file;
	loff_t pos = 0;
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/module/%s/notes/.note.gnu.build-id", module);
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	len = kernel_read(file, note, sizeof(note), &pos);
	filp_close(file, NULL);
	if (len < (ssize_t)sizeof(*n) + 4 || n->n_namesz != 4 || n->n_descsz > BUILDID_MAX ||
	    len < (ssize_t)sizeof(*n) + 4 + n->n_descsz || size < 2 * n->n_descsz + 1)
		return -ENOEXEC;
	*bin2hex(text, note + sizeof(*n) + 4, n->n_descsz) = 0;
	return 0;
}

static int buildid_match(const char *module, const char *want, char *cause, size_t csize,
			 char *remedy, size_t rsize)
{
	char have[2 * BUILDID_MAX + 1];
	int ret = buildid_read(module, have, sizeof(have));

	if (ret) {
		snprintf(cause, csize, "module %s is not loaded (or shows no build ID)", module);
		snprintf(remedy, rsize, "modprobe %s", module);
		return -ENODEV;
	}
	if (strcmp(have, want)) {
		snprintf(cause, csize,
			 "ftkvm was built for another %s (build ID %.12s..., loaded is %.12s...)",
			 module, want, have);
		snprintf(remedy, rsize, "rebuild ftkvm against linux-headers-%s and load that",
			 init_utsname()->release);
		return -ENOEXEC;
	}
	return 0;
}

/**
 * ftkvm_buildid_check() - does the loaded KVM match this module?
 * @v: the vendor of this host's CPU
 * @cause: on failure, what does not match
 * @csize: of @cause
 * @remedy: on failure, what to do
 * @rsize: of @remedy
 *
 * Context: process context, may sleep.
 * Return: 0; -ENODEV when KVM is not loaded, -ENOEXEC when it is another one.
 */
int ftkvm_buildid_check(const struct ftkvm_vendor *v, char *cause, size_t csize,
			char *remedy, size_t rsize)
{
	int ret = buildid_match("kvm", FTKVM_BUILD_ID_KVM, cause, csize, remedy, rsize);

	if (!ret && v->build_id)
		ret = buildid_match(v->module, v->build_id, cause, csize, remedy, rsize);
	return ret;
}
