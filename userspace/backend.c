// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include "backend.h"

#define BIT(n)		(1ULL << (n))
#define SECTOR		512
#define TUN_DEVICE	"/dev/net/tun"

/* With virtio 1 it is that long, merged buffers or not. */
#define VNET_HEADER	((int)sizeof(struct virtio_net_hdr_v1))

static int disk_size(struct ftbackend *b, const char *path, struct fterr *err)
{
	struct stat st;
	uint64_t bytes;
	int block = SECTOR;

	if (fstat(b->fd, &st))
		return ft_fail(err, -errno, "cannot look at %s: %s", path, strerror(errno));
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(b->fd, BLKGETSIZE64, &bytes) || ioctl(b->fd, BLKSSZGET, &block))
			return ft_fail(err, -errno, "cannot tell the size of %s: %s", path, strerror(errno));
	} else if (S_ISREG(st.st_mode)) {
		bytes = st.st_size;
	} else {
		return ft_fail(err, -EINVAL, "%s is neither a regular file nor a block device", path);
	}
	b->block = block;
	/* What is behind the last whole block is the guest's to see on no host. */
	b->sectors = bytes / block * block / SECTOR;
	return b->sectors ? 0 : ft_fail(err, -EINVAL, "%s holds nothing: %llu bytes", path,
					(unsigned long long)bytes);
}

int ftbackend_disk(struct ftbackend *b, const char *path, bool readonly, struct fterr *err)
{
	int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;
	int ret;

	/* O_EXCL keeps a block device from being mounted; of others it says nothing. */
	if (!readonly && !stat(path, &st) && S_ISBLK(st.st_mode))
		flags |= O_EXCL;
	*b = (struct ftbackend) { .fd = open(path, flags) };
	if (b->fd < 0)
		return ft_fail(err, -errno, "cannot open %s for %s: %s", path, readonly ? "reading" : "writing",
			       strerror(errno));
	ret = disk_size(b, path, err);
	/* Held as long as the file is open, by us or by the module. */
	if (!ret && flock(b->fd, (readonly ? LOCK_SH : LOCK_EX) | LOCK_NB))
		ret = errno == EWOULDBLOCK ?
		      ft_fail(err, -errno, "%s is in use%s", path,
			      readonly ? "" : " (two guests can't write to one disk)") :
		      ft_fail(err, -errno, "cannot lock %s: %s", path, strerror(errno));
	if (!ret && fcntl(b->fd, F_SETFL, 0))
		ret = ft_fail(err, -errno, "cannot use %s: %s", path, strerror(errno));
	if (ret)
		ftbackend_close(b);
	return ret;
}

/* --- storage that both hosts share ----------------------------------------- */

#define NFS_MAGIC	0x6969
/* Locks of bytes that no file has: a byte for those that only read, and one for each disk. */
#define LOCK_BASE	(1LL << 62)

/* File systems that one host has alone: two that write to the device below break it. */
static const struct {
	unsigned int magic;
	const char *name;
} local_fs[] = {
	{ 0xef53, "ext4" }, { 0x58465342, "xfs" }, { 0x9123683e, "btrfs" }, { 0x01021994, "tmpfs" },
	{ 0xf2f52010, "f2fs" }, { 0x858458f6, "ramfs" }, { 0x2fc12fc1, "zfs" }, { 0xca451a4e, "bcachefs" },
	{ 0x794c7630, "overlayfs" },
};

static int open_shared(struct ftbackend *b, const char *path, bool readonly, struct statfs *fs, bool *blk,
		       struct fterr *err)
{
	int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_DIRECT;
	struct stat st;
	size_t i;

	if (stat(path, &st) || statfs(path, fs))
		return ft_fail(err, -errno, "cannot look at %s: %s", path, strerror(errno));
	*blk = S_ISBLK(st.st_mode);
	for (i = 0; !*blk && i < sizeof(local_fs) / sizeof(*local_fs); i++)
		if ((unsigned int)fs->f_type == local_fs[i].magic)
			return ft_fail(err, -EINVAL, "%s lies on %s, which one host has alone: a disk that both hosts share "
				       "is a block device that both reach, or a file of a network's or cluster's file system; "
				       "or leave shared out, and give each host an image of its own", path, local_fs[i].name);
	if (*blk && !readonly)
		flags |= O_EXCL;
	b->fd = open(path, flags);
	if (b->fd < 0 && errno == EINVAL)
		return ft_fail(err, -EINVAL, "%s can't be open for direct I/O (O_DIRECT), without which the hosts don't see "
			       "what the other one has written: put it where that can be done, a block device for example",
			       path);
	if (b->fd < 0)
		return ft_fail(err, -errno, "cannot open %s for %s: %s", path, readonly ? "reading" : "writing",
			       strerror(errno));
	return 0;
}

/* FNV-1a. Two disks of one number are taken for the same: once in 2^32. */
static uint32_t disk_id(const char *guest, uint32_t no)
{
	uint32_t h = 2166136261u;

	for (; *guest; guest++)
		h = (h ^ (unsigned char)*guest) * 16777619u;
	h = (h ^ '/') * 16777619u;
	return (h ^ no) * 16777619u;
}

/* Does somebody else have a lock there? -EAGAIN, or another -errno. */
static int look_lock(int fd, off_t from, off_t len)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = len };

	if (!len)
		return 0;
	if (fcntl(fd, F_OFD_GETLK, &l))
		return -errno;
	return l.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/*
 * The other host has a lock of the same disk, and is to have it. One of another disk is
 * somebody who would write what is not his: so each has a lock that does not exclude, of a byte
 * of its own, and looks for those of others. A network's or cluster's file system tells hosts
 * of each other's; a block device only this host's processes.
 */
int ftbackend_lock(int fd, bool readonly, const char *guest, uint32_t no)
{
	off_t own = readonly ? 0 : 1 + (off_t)disk_id(guest, no), ids = 1LL << 33;
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = LOCK_BASE + own, .l_len = 1 };
	int ret = fcntl(fd, F_OFD_SETLK, &l) ? -errno : 0;

	if (!ret)
		ret = look_lock(fd, LOCK_BASE, own);
	if (!ret)
		ret = look_lock(fd, LOCK_BASE + own + 1, ids - own);
	return ret;
}

int ftbackend_shared(struct ftbackend *b, const char *path, bool readonly, const char *guest, uint32_t no,
		     struct fterr *err)
{
	struct statfs fs;
	bool blk = false;
	int ret;

	*b = (struct ftbackend) { .fd = -1 };
	ret = open_shared(b, path, readonly, &fs, &blk, err);
	if (!ret)
		ret = disk_size(b, path, err);
	if (ret)
		goto out;
	/* NFS makes one of the whole file of it, which would keep those of bytes away */
	if (blk || fs.f_type != NFS_MAGIC)
		ret = flock(b->fd, LOCK_SH | LOCK_NB) ? -errno : 0;
	if (!ret)
		ret = ftbackend_lock(b->fd, readonly, guest, no);
	if (ret == -EAGAIN || ret == -EACCES)
		ft_fail(err, -EBUSY, "%s is in use, by another disk than number %u of guest %s (two guests can't write to one "
			"disk; and the guest must be called the same on both hosts)", path, no, guest);
	else if (ret)
		ft_fail(err, ret, "cannot lock %s: %s", path, strerror(-ret));
	else if (fcntl(b->fd, F_SETFL, O_DIRECT))
		ret = ft_fail(err, -errno, "cannot use %s: %s", path, strerror(errno));
out:
	if (ret) {
		ret = err->code;
		ftbackend_close(b);
	}
	return ret;
}

static int open_look(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

bool ftbackend_unlocked(const char *path)
{
	int fd = open_look(path);
	bool unlocked = fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB);

	if (fd >= 0)
		close(fd);
	return unlocked;
}

uint32_t ftbackend_block(const char *path)
{
	struct ftbackend b = { .fd = open_look(path) };
	struct fterr ignored;
	uint32_t block = b.fd < 0 || disk_size(&b, path, &ignored) ? SECTOR : b.block;

	ftbackend_close(&b);
	return block;
}

/* The file of an interface: a tap's is all taps', a macvtap's its own, by its number. */
static void tap_file(const char *name, unsigned int index, char *path, size_t size)
{
	char flags[64];

	snprintf(flags, sizeof(flags), "/sys/class/net/%s/tun_flags", name);
	snprintf(path, size, "/dev/tap%u", index);
	if (!access(flags, F_OK) || access(path, F_OK))
		snprintf(path, size, "%s", TUN_DEVICE);
}

int ftbackend_tap(struct ftbackend *b, const char *name, struct fterr *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	unsigned int index;
	const char *path = name;
	int header = VNET_HEADER;
	char file[64];
	int ret = 0;

	*b = (struct ftbackend) { .fd = -1 };
	if (*name != '/') {
		if (strlen(name) >= sizeof(ifr.ifr_name))
			return ft_fail(err, -ENAMETOOLONG, "%s is no interface's name", name);
		/* Or one would be made that is joined to nothing. */
		index = if_nametoindex(name);
		if (!index)
			return ft_fail(err, -ENODEV, "there is no tap %s; run: ip tuntap add dev %s mode tap vnet_hdr, and: "
				       "ip link set %s master BRIDGE up", name, name, name);
		strcpy(ifr.ifr_name, name);
		tap_file(name, index, file, sizeof(file));
		path = file;
	}
	b->fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (b->fd < 0)
		return ft_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if (ioctl(b->fd, TUNSETIFF, &ifr)) {
		ret = -errno;
		if (ret == -ENOTTY)
			ft_fail(err, ret, "%s is no macvtap", path);
		else
			ft_fail(err, ret, "cannot have the tap %s: %s%s", name, strerror(-ret),
				ret == -EBUSY ? " (another program has it)" : "");
	} else if (ioctl(b->fd, TUNSETVNETHDRSZ, &header)) {
		ret = ft_fail(err, -errno, "the tap %s takes no header of %d bytes: %s", name, header,
			      strerror(errno));
	}
	if (ret)
		ftbackend_close(b);
	return ret;
}

int ftbackend_offload(const struct ftbackend *b, uint64_t features, struct fterr *err)
{
	unsigned long offload = 0;

	if (features & BIT(VIRTIO_NET_F_GUEST_CSUM))
		offload |= TUN_F_CSUM;
	/* which make no sense without that */
	if (offload && (features & BIT(VIRTIO_NET_F_GUEST_TSO4)))
		offload |= TUN_F_TSO4;
	if (offload && (features & BIT(VIRTIO_NET_F_GUEST_TSO6)))
		offload |= TUN_F_TSO6;
	if (ioctl(b->fd, TUNSETOFFLOAD, offload))
		return ft_fail(err, -errno, "the tap takes no offloads 0x%lx: %s", offload, strerror(errno));
	return 0;
}

void ftbackend_close(struct ftbackend *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}
