# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# For scripts that run tests of several kinds, sourced at the top of the tree: each
# kind's last line is "N passed, N failed", and so is the script's.
passed=0 failed=0
logs=$PWD/build/check
mkdir -p "$logs"

# part NAME COMMAND...: run it, show it, take its numbers
part() {
	local name=$1 status=0 begin=$SECONDS
	shift
	echo "=== $name"
	"$@" 2>&1 | tee "$logs/$name.log" || status=$?
	numbers "$name" "$status"
	echo "=== $name took $((SECONDS - begin)) s"
}

# numbers NAME STATUS: what a part came to
numbers() {
	local name=$1 status=$2 last
	last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/$name.log" | tail -n 1)
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		[ "$status" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
	else
		echo "$name: ended with status $status and without a result"
		failed=$((failed + 1))
	fi
}

# beside FUNCTION NAME...: parts that need no more than one CPU, one after the other in
# the background; FUNCTION NAME runs one. What they print is shown by joined().
beside_parts=() beside_pid=
beside() {
	local function=$1 name
	shift
	[ $# -gt 0 ] || return 0
	beside_parts=("$@")
	echo "=== beside: $*"
	for name; do
		rm -f "$logs/$name.status"
	done
	# a process group of its own, so that nothing of it outlives this script
	trap '[ -z "$beside_pid" ] || kill -- "-$beside_pid" 2> /dev/null' EXIT
	set -m
	(
		for name; do
			status=0 begin=$SECONDS
			"$function" "$name" > "$logs/$name.log" 2>&1 < /dev/null || status=$?
			echo "$status $((SECONDS - begin))" > "$logs/$name.status"
			echo "=== $name took $((SECONDS - begin)) s, beside"
		done
	) &
	beside_pid=$!
	set +m
}

# joined: wait for them, and take their numbers
joined() {
	local name status took
	[ -n "$beside_pid" ] || return 0
	wait "$beside_pid"
	beside_pid=
	for name in "${beside_parts[@]}"; do
		read -r status took < "$logs/$name.status" || status=killed took=0
		echo "=== $name, which took $took s"
		cat "$logs/$name.log"
		numbers "$name" "$status"
	done
}

# sum: the last line, and the exit status
sum() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
}
