# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# For scripts that run tests of several kinds, sourced at the top of the tree: each
# kind's last line is "N passed, N failed", and so is the script's.
passed=0 failed=0
logs=$PWD/build/check
mkdir -p "$logs"

# part NAME COMMAND...: run it, show it, take its numbers
part() {
	local name=$1 status=0 last begin=$SECONDS
	shift
	echo "=== $name"
	"$@" 2>&1 | tee "$logs/$name.log" || status=$?
	last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/$name.log" | tail -n 1)
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		[ "$status" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
	else
		echo "$name: ended with status $status and without a result"
		failed=$((failed + 1))
	fi
	echo "=== $name took $((SECONDS - begin)) s"
}

# sum: the last line, and the exit status
sum() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
}
