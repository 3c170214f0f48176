// SPDX-License-Identifier: GPL-2.0
/* What ftd tells the journal: see tests/check. */
#include <stdio.h>
#include <string.h>
#include "journal.h"
#include "tests/unit.h"

int unit_journal(void)
{
	struct ftevent e = {
		.name = "web", .detail = "the peer was silent for 500 ms",
		.event = FTKVM_UAPI_EVENT_PEER_LOST, .state = FTKVM_UAPI_STATE_UNDECIDED,
		.role = FTKVM_UAPI_ROLE_PRIMARY, .reason = FTKVM_REASON_PEER_SILENT,
	};
	unsigned int i, j;

	for (i = 0; i < FTMSG_END; i++)
		for (j = 0; j < i; j++)
			CHECK(!*ftjournal_id(i) || strcmp(ftjournal_id(i), ftjournal_id(j)));
	for (i = FTKVM_UAPI_EVENT_ATTACHED; i < FTMSG_END; i++)
		printf("%u %s\n", i, ftjournal_id(i));
	CHECK(!*ftjournal_id(FTMSG_END));
	ftjournal_event(SD_WARNING, &e);
	ftjournal_say(SD_ERR, FTMSG_FORGOTTEN, "web", "guest %s: a line", "web");
	return unit_failed;
}
