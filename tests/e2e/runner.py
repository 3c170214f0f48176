# SPDX-License-Identifier: GPL-2.0
"""Runs one test on hosts of its kind, and tells what is wrong with it."""
import os
import time
import traceback

import harness


def run_one(entry, pool):
    """What is wrong, or None; and where the logs are."""
    try:
        hosts = pool.get((entry.hosts, entry.skid))
    except Exception as error:	# noqa: BLE001
        pool.drop()
        return f"no hosts: {error}", None
    test = harness.Test(entry, hosts)
    wrong = None
    try:
        with harness.Alarm(entry.timeout):
            entry.function(test)
    except (harness.Failed, harness.CommandFailed, harness.HostDied, TimeoutError,
            RuntimeError) as error:
        wrong = str(error)
    except Exception:	# noqa: BLE001
        wrong = traceback.format_exc()
    try:
        with harness.Alarm(60):
            leftover = test.close()
        if leftover and not wrong:
            wrong = "; ".join(leftover)
    except Exception as error:	# noqa: BLE001
        wrong = wrong or f"cleaning up: {error}"
    time.sleep(0.05)	# what is still in the sockets
    trouble, others = test.trouble()
    pool.others += others
    died = [h.name for h in hosts if not h.alive and h.killed_at is None]
    if died:
        wrong = f"{wrong or ''} host {' and '.join(died)} died"
    if trouble:
        wrong = "\n".join(filter(None, [wrong, *trouble[:5]]))
    logs = None
    if wrong:
        for host in hosts:
            if not host.alive:
                continue
            try:
                log = host.run("cat /run/ftd.log; dmesg", check=False, timeout=20).out
                with open(os.path.join(hosts.log_dir, host.name + ".ftd.log"), "w",
                          encoding="utf-8") as file:
                    file.write(log)
            except Exception:	# noqa: BLE001
                pass
        logs = pool.drop(keep=True)
    return wrong, logs
