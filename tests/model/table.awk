# SPDX-License-Identifier: GPL-2.0
# kmod/core/state.h and state.c as Promela: the states, and for each event an
# inline that says where it leads, by the very table that the module has.
function fail(what)
{
	print "table.awk: " what > "/dev/stderr"
	failed = 1
	exit 1
}

/^enum ftkvm_/ { in_enum = $2 }
/^};/ { in_enum = "" }
in_enum == "ftkvm_state" && match($1, /^FTKVM_STATE_[A-Z]+/) {
	states[++nstates] = substr($1, 13, RLENGTH - 12)
}
in_enum == "ftkvm_event" && match($1, /^FTKVM_EV_[A-Z_]+/) {
	events[++nevents] = substr($1, 10, RLENGTH - 9)
}

/ftkvm_table\[FTKVM_STATES\]\[FTKVM_EVENTS\] = \{/ { in_table = 1; next }
in_table && /^};/ { in_table = 0 }
in_table && match($0, /\[FTKVM_STATE_[A-Z]+\] = \{/) {
	from = substr($0, RSTART + 13, RLENGTH - 18)
	next
}
in_table && match($0, /\[FTKVM_EV_[A-Z_]+\]/) {
	event = substr($0, RSTART + 10, RLENGTH - 11)
	if (match($0, /= TO\([A-Z]+\),/)) {
		to = substr($0, RSTART + 5, RLENGTH - 7)
	} else if (match($0, /= BY_ROLE\([A-Z]+, [A-Z]+\),/)) {
		split(substr($0, RSTART + 10, RLENGTH - 12), by, ", ")
		to = "(r == A -> " by[1] " : " by[2] ")"
	} else {
		fail("not understood: " $0)
	}
	options[event] = options[event] "\t:: st[r] == " from " -> next_ = " to "\n"
	entries++
}

END {
	if (failed)
		exit 1
	if (nstates < 2 || nevents < 2 || entries < nstates)
		fail("no table found")
	printf "mtype = { NO_PLACE"
	for (i = 1; i <= nstates; i++)
		printf ", %s", states[i]
	print " };"
	for (i = 1; i <= nevents; i++) {
		if (!(events[i] in options))
			fail("no state has a place for " events[i])
		printf "\ninline EVENT_%s(r, next_)\n{\n\tif\n%s", events[i], options[events[i]]
		print "\t:: else -> next_ = NO_PLACE\n\tfi\n}"
	}
}
