/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FTKVM_BUILDID_H
#define FTKVM_BUILDID_H

#include <linux/types.h>

struct ftkvm_vendor;

int ftkvm_buildid_check(const struct ftkvm_vendor *v, char *cause, size_t csize,
			char *remedy, size_t rsize);

#endif
