// SPDX-License-Identifier: GPL-2.0
/* Metrics of guests as strange as the module may have them; tests/observing.py reads them. */
#include <stdio.h>
#include <string.h>
#include "metrics.h"
#include "tests/unit.h"
#include "text.h"

int unit_metrics(void)
{
	static const char *const names[] = {
		"web", "a\"quote\\and\nline", "\303\251t\303\251", "half\303", "\377\376", "half\304", "empty",
	};
	struct ftmetrics_session sessions[] = {
		{ "web", FT_KNOWN }, { "a\"quote\\and\nline", FT_NO_ANSWER }, { "half\303", FT_FORGOTTEN },
		{ "half\304", FT_DECIDED }, { "empty", FT_UNHEARD },
	};
	struct ftmetrics_still stills[] = { { "web", false }, { "half\303", true } };
	struct ftreplica list[ARRAY_SIZE(names)] = { 0 };
	struct ftmetrics m = {
		.module = true, .list = list, .n = ARRAY_SIZE(list), .ftd = true, .arbiter = "etcd",
		.stills = stills, .n_stills = ARRAY_SIZE(stills), .decides = true, .sessions = sessions, .n_sessions = ARRAY_SIZE(sessions),
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		strcpy(list[i].name, names[i]);
		strcpy(list[i].module_version, "1\"2");
		list[i].state = i;
		list[i].role = i % 3;
		for (k = FTKVM_STAT_PAD + 1; i + 1 < ARRAY_SIZE(list) && k <= FTKVM_STAT_MAX; k++) {
			list[i].has_stat[k] = true;
			list[i].stats[k] = i == 1 ? UINT64_MAX : 1000000000ULL * k + i;
		}
	}
	list[0].state = FTKVM_UAPI_STATE_PRIMARY;
	list[0].role = FTKVM_UAPI_ROLE_PRIMARY;
	ftmetrics_print(&m, stdout);
	return 0;
}
