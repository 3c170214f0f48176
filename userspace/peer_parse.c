// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "peer.h"

#define VERSION_MAX	40

int peer_same_version(json_t *line, struct fterr *err)
{
	const char *theirs = json_string_value(json_object_get(line, "version"));

	size_t i;

	if (theirs && !strcmp(theirs, FTKVM_VERSION))
		return 0;
	/* it is to be said, and logged */
	for (i = 0; theirs && theirs[i]; i++)
		if (i == VERSION_MAX || !isgraph((unsigned char)theirs[i]))
			theirs = NULL;
	return ft_fail(err, -EPROTONOSUPPORT, "this host has version %s of ftkvm, the other one %s; install the same version on both "
		       "hosts", FTKVM_VERSION, theirs && *theirs ? theirs : "none that it names");
}

json_t *peer_parse(const char *line, struct fterr *err)
{
	json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	json_t *version = json_object_get(json, "ftd"), *pair = json_object_get(json, "pair");
	json_t *stream = json_object_get(json, "stream"), *second = json_object_get(json, "second");
	json_int_t v = json_integer_value(version);

	if (json_is_integer(version) && v == PEER_VERSION && stream && json_string_length(stream) == FT_UUID_MAX)
		return json;
	if (json_is_integer(version) && v == PEER_VERSION && !stream && json_is_integer(second) &&
	    json_integer_value(second) > 0)
		return json;
	if (json_is_integer(version) && v == PEER_VERSION && !stream && !second &&
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
