// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "peer.h"

#define VERSION_MAX	40
#define KERNEL_MAX	140

/* It is to be said, and logged. */
static bool printable(const char *text, size_t max)
{
	size_t i;

	for (i = 0; text[i]; i++)
		if (i == max || !isprint((unsigned char)text[i]))
			return false;
	return true;
}

/* Both of its package and of its build */
static void our_kernel(char *text, size_t size)
{
	struct utsname u;

	*text = '\0';
	if (!uname(&u))
		snprintf(text, size, "%s %s", u.release, u.version);
}

json_t *peer_yes(void)
{
	char kernel[KERNEL_MAX + 1];

	our_kernel(kernel, sizeof(kernel));
	return json_pack("{s:b, s:s, s:s}", "ok", 1, "version", FTKVM_VERSION, "kernel", kernel);
}

int peer_same_kernel(json_t *answer, struct fterr *err)
{
	const char *theirs = json_string_value(json_object_get(answer, "kernel"));
	char ours[KERNEL_MAX + 1];

	our_kernel(ours, sizeof(ours));
	if (!theirs || !strcmp(theirs, ours))
		return 0;
	return ft_fail(err, -EINVAL, "the hosts run different kernels, this one %s, the other one %s: KVM may do the same in "
		       "another way, and the guest's pairing end by that", ours,
		       printable(theirs, KERNEL_MAX) ? theirs : "one that it does not name");
}

int peer_same_version(json_t *line, struct fterr *err)
{
	const char *theirs = json_string_value(json_object_get(line, "version"));

	if (theirs && !strcmp(theirs, FTKVM_VERSION))
		return 0;
	if (theirs && !printable(theirs, VERSION_MAX))
		theirs = NULL;
	return ft_fail(err, -EPROTONOSUPPORT, "this host has version %s of ftkvm, the other one %s; install the same version on both "
		       "hosts", FTKVM_VERSION, theirs && *theirs ? theirs : "none that it names");
}

json_t *peer_parse(const char *line, struct fterr *err)
{
	json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	json_t *version = json_object_get(json, "ftd"), *pair = json_object_get(json, "pair");
	json_t *stream = json_object_get(json, "stream"), *second = json_object_get(json, "second");
	json_t *lives = json_object_get(json, "lives");
	json_int_t v = json_integer_value(version);

	if (json_is_integer(version) && v == PEER_VERSION && stream && json_string_length(stream) == FT_UUID_MAX)
		return json;
	if (json_is_integer(version) && v == PEER_VERSION && !stream && json_is_integer(second) &&
	    json_integer_value(second) > 0)
		return json;
	if (json_is_integer(version) && v == PEER_VERSION && !stream && !second && lives && ft_name_ok(json_string_value(lives)))
		return json;
	if (json_is_integer(version) && v == PEER_VERSION && !stream && !second && !lives &&
	    ft_name_ok(json_string_value(json_object_get(json, "guest"))) &&
	    (!pair || ft_name_ok(json_string_value(pair))))
		return json;
	if (json_is_integer(version) && v != PEER_VERSION)
		ft_fail(err, -EPROTONOSUPPORT, "this ftd speaks version %d of the peers' protocol, not %lld; "
			"install the same version of ftkvm on both hosts", PEER_VERSION, (long long)v);
	else
		ft_fail(err, -EBADMSG, "this is ftd's port, and that is no request to pair a guest");
	json_decref(json);
	return NULL;
}
