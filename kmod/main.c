// SPDX-License-Identifier: GPL-2.0
/*
 * ftkvm: two hosts run one KVM guest as one machine.
 */
#include <linux/module.h>
#include "dev/device.h"
#include "fault/fault.h"
#include "kvm/replica.h"
#include "kvm/vendor.h"
#include "kvm/buildid.h"

/* Another KVM's structures are not those that this module knows: refuse early. */
static int ftkvm_match(void)
{
	const struct ftkvm_vendor *v = ftkvm_vendor();
	char cause[160], remedy[128];
	int ret;

	if (!v || !v->regs)
		return 0;	/* says so when a guest is to be attached */
	ret = ftkvm_buildid_check(v, cause, sizeof(cause), remedy, sizeof(remedy));
	if (ret == -ENODEV)
		return 0;	/* may be loaded later: checked again then */
	if (ret)
		pr_err("%s: %s\n", cause, remedy);
	return ret;
}

static int __init ftkvm_init(void)
{
	int ret = ftkvm_match();

	if (ret)
		return ret;
	ftkvm_fault_init();
	ret = ftkvm_replica_init();
	if (ret)
		goto out;
	ret = ftkvm_devs_init();
	if (ret)
		goto replicas;
	ret = ftkvm_netlink_init();
	if (!ret)
		return 0;
	ftkvm_devs_exit();
replicas:
	ftkvm_replica_exit();
out:
	ftkvm_fault_exit();
	return ret;
}

/* Each attached guest holds the module: none is left here. */
static void __exit ftkvm_exit(void)
{
	ftkvm_fault(FTKVM_FAULT_EXIT);
	ftkvm_netlink_exit();
	ftkvm_devs_exit();
	ftkvm_replica_exit();
	ftkvm_fault_exit();
}

module_init(ftkvm_init);
module_exit(ftkvm_exit);

MODULE_DESCRIPTION("Two hosts run one KVM guest as one machine");
MODULE_AUTHOR("The ftkvm developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FTKVM_VERSION);
MODULE_SOFTDEP("pre: kvm_amd");
