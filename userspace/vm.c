// SPDX-License-Identifier: GPL-2.0
/* QEMU's process and its VM; and what kinds of guests can't be protected. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "nl_dev.h"
#include "qmp.h"

#define DISK_REMEDY	"make its disks by ftctl device add, and start QEMU as ftctl device show says"
#define CARD_REMEDY	"make its network cards by ftctl device add, and start QEMU as ftctl device show says"
#define SPLIT_REMEDY	"start QEMU with -M ...,kernel-irqchip=split"

int ft_pidfd(pid_t pid)
{
	int fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

bool ft_process_gone(pid_t pid)
{
	return pid > 0 && kill(pid, 0) && errno == ESRCH;
}

static int may_not_look(pid_t pid, int code, struct fterr *err)
{
	return ft_fail(err, code, "cannot look at QEMU's process %d: %s; run as root", pid, strerror(-code));
}

/* The number of the only kvm-vm descriptor of the process, or -errno. */
static int find_vm(pid_t pid, struct fterr *err)
{
	char path[64], target[64];
	int found = -1, n = 0, refused = 0;
	struct dirent *e;
	ssize_t len;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return may_not_look(pid, -errno, err);
	while ((e = readdir(dir))) {
		len = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
		if (len < 0) {
			/* a list that may be read, of what may not be */
			if (errno == EACCES || errno == EPERM)
				refused = -errno;
			continue;
		}
		target[len] = '\0';
		if (!strcmp(target, "anon_inode:kvm-vm")) {
			found = atoi(e->d_name);
			n++;
		}
	}
	closedir(dir);
	if (!n && refused)
		return may_not_look(pid, refused, err);
	if (!n)
		return ft_fail(err, -ENXIO, "this QEMU (process %d) does not use KVM; start it with -accel kvm",
			       pid);
	if (n > 1)
		return ft_fail(err, -ENXIO, "process %d holds %d KVM machines; ftkvm knows one for each QEMU",
			       pid, n);
	return found;
}

int ft_vm_fd(pid_t pid, struct fterr *err)
{
	int theirs = find_vm(pid, err);
	int pidfd, fd;

	if (theirs < 0)
		return theirs;
	pidfd = ft_pidfd(pid);
	if (pidfd < 0)
		return ft_fail(err, pidfd, "cannot hold QEMU's process %d: %s", pid, strerror(-pidfd));
	fd = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	if (fd < 0)
		fd = ft_fail(err, -errno, "cannot get the KVM machine of process %d: %s; this needs "
			     "CAP_SYS_PTRACE", pid, strerror(errno));
	close(pidfd);
	return fd;
}

/*
 * Devices that are known not to write guest memory but by an instruction of the guest, on both
 * replicas at once. All others are refused, also those of a QEMU to come. A type that begins with
 * "*" stands for all that end so. What only moves data for a medium (floppy, IDE, AHCI) is judged
 * by the media that are in.
 */
static const char *const harmless_types[] = {
	/* no devices */
	"container", "irq", "memory-region", "System", "ISA",
	/* what boards have: pc, q35, microvm */
	"*-x86_64-cpu", "i440FX-pcihost", "i440FX", "PIIX3", "PIIX4_PM", "q35-pcihost", "mch", "ICH9-LPC", "ICH9-SMB",
	"isabus-bridge", "ioapic", "isa-i8259", "isa-pit", "isa-pcspk", "hpet", "i8257", "mc146818rtc", "port92",
	"smbus-eeprom", "fw_cfg_io", "i8042", "ps2-kbd", "ps2-mouse", "vmport", "vmmouse", "kvmvapic", "kvmclock",
	"acpi-ged-x86", "virtio-mmio", "gpex-pcihost", "gpex-root",
	"isa-fdc", "floppy", "piix3-ide", "ich9-ahci", "ide-cd", "ide-hd",
	/* what a user may add */
	"isa-serial", "pci-serial", "isa-parallel", "isa-debugcon", "isa-debug-exit", "pvpanic", "pvpanic-pci",
	"VGA", "secondary-vga", "isa-vga", "bochs-display", "loader", "vmcoreinfo",
	"pci-bridge", "pcie-root-port", "pcie-pci-bridge",
};

static bool matches(const char *pattern, const char *type)
{
	size_t len = strlen(pattern), n = strlen(type);

	if (pattern[0] == '*')
		return n >= len - 1 && !strcmp(type + n - (len - 1), pattern + 1);
	if (pattern[len - 1] == '*')
		return !strncmp(pattern, type, len - 1);
	return !strcmp(pattern, type);
}

bool ft_type_harmless(const char *type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(harmless_types); i++)
		if (matches(harmless_types[i], type))
			return true;
	return false;
}

/* Devices whose rings may be the module's: how many, and the last one's name. */
struct rings {
	unsigned int n[FTKVM_UAPI_DEV_NET + 1];
	char name[FTKVM_UAPI_DEV_NET + 1][128];
};

/* The kind, by the module's numbers; 0: none that it could have. */
static uint32_t rings_kind(const char *type)
{
	if (matches("vhost-user-blk-pci*", type))
		return FTKVM_UAPI_DEV_BLK;
	return matches("virtio-net-pci*", type) ? FTKVM_UAPI_DEV_NET : 0;
}

/*
 * The module has as many of them for this QEMU, or not: then some other backend is
 * behind one, or none, and QEMU doesn't say which.
 */
static void judge_rings(pid_t pid, const struct rings *r, struct ftproblems *p)
{
	unsigned int served[ARRAY_SIZE(r->n)] = { 0 };
	struct ftdev *list = NULL;
	struct fterr ignored;
	size_t n = 0, i;
	uint32_t kind;

	if (r->n[FTKVM_UAPI_DEV_BLK] || r->n[FTKVM_UAPI_DEV_NET])
		ftnl_dev_dump(&list, &n, &ignored);
	for (i = 0; i < n; i++)
		if ((pid_t)list[i].pid == pid && list[i].kind < ARRAY_SIZE(served))
			served[list[i].kind]++;
	free(list);
	for (kind = FTKVM_UAPI_DEV_BLK; kind <= FTKVM_UAPI_DEV_NET; kind++)
		if (served[kind] < r->n[kind])
			ftproblem_add(p, FTKVM_SCOPE_GUEST,
				      kind == FTKVM_UAPI_DEV_BLK ?
				      DISK_REMEDY : CARD_REMEDY,
				      "%u of %u %s (%s) %s not ftkvm's", r->n[kind] - served[kind], r->n[kind],
				      kind == FTKVM_UAPI_DEV_BLK ? "vhost-user-blk-pci" : "virtio-net-pci",
				      r->name[kind], r->n[kind] - served[kind] == 1 ? "is" : "are");
}

/* QEMU itself serves a card's control queue, and writes memory for that. */
static void check_control_queue(struct ftqmp *q, const char *container, const char *name,
				struct ftproblems *p)
{
	struct fterr ignored;
	char path[256];
	json_t *on;

	snprintf(path, sizeof(path), "%s/%s", container, name);
	on = ftqmp_run(q, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", "ctrl_vq"), &ignored);
	if (!json_is_false(on))
		ftproblem_add(p, FTKVM_SCOPE_GUEST,
			      "add " FT_CARD_OPTIONS " to its -device",
			      "the control queue of virtio-net-pci (%s) is QEMU's, which writes the guest's memory",
			      name);
	json_decref(on);
}

/* A disk of QEMU's own; vhost-user-blk is judged by what is behind it. */
static bool is_disk(const char *type)
{
	return matches("virtio-blk*", type) || matches("virtio-scsi*", type) || matches("vhost-scsi*", type) ||
	       matches("vhost-user-scsi*", type) || matches("nvme*", type);
}

/* A device that QEMU or its user put into the machine. */
static void judge_device(const char *name, const char *type, bool user, struct ftproblems *p)
{
	if (ft_type_harmless(type))
		return;
	if (!strcmp(type, "kvm-ioapic") || !strcmp(type, "kvm-i8259") || !strcmp(type, "kvm-pit"))
		ftproblem_add(p, FTKVM_SCOPE_GUEST, SPLIT_REMEDY,
			      "the machine's %s runs in the kernel", type + strlen("kvm-"));
	else if (user)
		ftproblem_add(p, FTKVM_SCOPE_GUEST,
			      is_disk(type) ? DISK_REMEDY " (-device vhost-user-blk-pci)" :
			      "leave the device out; network cards are made by ftctl device add",
			      "device %s (%s) writes the guest's memory at times of its own, or is not known not to",
			      type, name);
	else
		ftproblem_add(p, FTKVM_SCOPE_GUEST,
			      "start QEMU with -nodefaults, and -M ...,usb=off for a USB controller",
			      "the machine has a %s, which writes the guest's memory at times of its own, or is "
			      "not known not to", type);
}

/* A chip of many devices, which some QEMUs have inside it, and others beside it. */
static bool is_south_bridge(const char *type)
{
	return !strcmp(type, "PIIX3") || !strcmp(type, "ICH9-LPC");
}

static int list_devices(struct ftqmp *q, const char *path, bool user, struct rings *r,
			struct ftproblems *p, struct fterr *err);

static int list_inside(struct ftqmp *q, const char *container, const char *name, struct rings *r,
		       struct ftproblems *p, struct fterr *err)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", container, name);
	return list_devices(q, path, false, r, p, err);
}

/* The devices in one container of QEMU's object tree. */
static int list_devices(struct ftqmp *q, const char *path, bool user, struct rings *r,
			struct ftproblems *p, struct fterr *err)
{
	json_t *list = ftqmp_run(q, "qom-list", json_pack("{s:s}", "path", path), err);
	json_t *entry;
	size_t i;

	if (!list)
		return err->code;
	json_array_foreach(list, i, entry) {
		const char *name = NULL, *type = NULL;
		char bare[128];
		uint32_t kind;
		size_t len;

		if (json_unpack(entry, "{s:s, s:s}", "name", &name, "type", &type) ||
		    strncmp(type, "child<", 6))
			continue;
		len = strcspn(type + 6, ">");
		if (len >= sizeof(bare))
			continue;
		memcpy(bare, type + 6, len);
		bare[len] = '\0';
		kind = rings_kind(bare);
		if (!kind) {
			judge_device(name, bare, user, p);
			if (is_south_bridge(bare) && list_inside(q, path, name, r, p, err)) {
				json_decref(list);
				return err->code;
			}
			continue;
		}
		r->n[kind]++;
		snprintf(r->name[kind], sizeof(r->name[kind]), "%s", name);
		if (kind == FTKVM_UAPI_DEV_NET)
			check_control_queue(q, path, name, p);
	}
	json_decref(list);
	return 0;
}

static int check_cpus(struct ftqmp *q, struct ftproblems *p, struct fterr *err)
{
	json_t *cpus = ftqmp_run(q, "query-cpus-fast", NULL, err);
	const char *path = NULL;
	char cpu[256] = "";
	json_t *apic;
	size_t n;

	if (!cpus)
		return err->code;
	n = json_array_size(cpus);
	json_unpack(json_array_get(cpus, 0), "{s:s}", "qom-path", &path);
	if (path)
		snprintf(cpu, sizeof(cpu), "%s/lapic", path);
	json_decref(cpus);
	if (n != 1)
		ftproblem_add(p, FTKVM_SCOPE_GUEST, "start QEMU with -smp 1", "the guest has %zu vCPUs", n);
	if (!*cpu)
		return 0;
	apic = ftqmp_run(q, "qom-get", json_pack("{s:s, s:s}", "path", cpu, "property", "type"), err);
	if (!apic)
		return err->code == -EREMOTEIO ? 0 : err->code;
	if (json_string_value(apic) && !strcmp(json_string_value(apic), "apic"))
		ftproblem_add(p, FTKVM_SCOPE_GUEST, SPLIT_REMEDY, "the machine's local APIC does not run in KVM");
	json_decref(apic);
	return 0;
}

static int check_media(struct ftqmp *q, struct ftproblems *p, struct fterr *err)
{
	json_t *list = ftqmp_run(q, "query-block", NULL, err);
	json_t *entry;
	size_t i;

	if (!list)
		return err->code;
	json_array_foreach(list, i, entry) {
		const char *device = NULL, *qdev = NULL;

		if (!json_object_get(entry, "inserted"))
			continue;
		json_unpack(entry, "{s?s, s?s}", "device", &device, "qdev", &qdev);
		ftproblem_add(p, FTKVM_SCOPE_GUEST,
			      "leave the drive out; " DISK_REMEDY " (-device vhost-user-blk-pci)",
			      "drive %s has a medium: its reads write the guest's memory at times of their own",
			      device && *device ? device : qdev && *qdev ? qdev : "without a name");
	}
	json_decref(list);
	return 0;
}

static int check_accel(struct ftqmp *q, struct ftproblems *p, struct fterr *err)
{
	json_t *kvm = ftqmp_run(q, "query-kvm", NULL, err);
	int enabled = 1;

	if (!kvm)
		return err->code == -EREMOTEIO ? 0 : err->code;
	json_unpack(kvm, "{s:b}", "enabled", &enabled);
	json_decref(kvm);
	if (!enabled)
		ftproblem_add(p, FTKVM_SCOPE_GUEST, "start QEMU with -accel kvm", "the guest does not run under KVM");
	return 0;
}

int ft_guest_problems(struct ftqmp *q, struct ftproblems *p, struct fterr *err)
{
	struct rings rings = { 0 };
	int ret;

	ret = check_accel(q, p, err);
	if (!ret)
		ret = check_cpus(q, p, err);
	if (!ret)
		ret = list_devices(q, "/machine", false, &rings, p, err);
	if (!ret)
		ret = list_devices(q, "/machine/unattached", false, &rings, p, err);
	if (!ret)
		ret = list_devices(q, "/machine/peripheral", true, &rings, p, err);
	if (!ret)
		ret = list_devices(q, "/machine/peripheral-anon", true, &rings, p, err);
	if (!ret)
		judge_rings(q->pid, &rings, p);
	if (!ret)
		ret = check_media(q, p, err);
	return ret;
}

void ft_problems_text(const struct ftproblems *p, char *buf, size_t size)
{
	size_t i, at = 0;

	*buf = '\0';
	for (i = 0; i < p->n && at < size; i++)
		at += snprintf(buf + at, size - at, "%s%s (%s)", i ? "; " : "", p->list[i].cause,
			       p->list[i].remedy);
}
