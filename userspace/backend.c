// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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

int ftbackend_tap(struct ftbackend *b, const char *name, struct fterr *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const char *path = *name == '/' ? name : TUN_DEVICE;
	int header = VNET_HEADER;
	int ret = 0;

	*b = (struct ftbackend) { .fd = -1 };
	if (*name != '/') {
		if (strlen(name) >= sizeof(ifr.ifr_name))
			return ft_fail(err, -ENAMETOOLONG, "%s is no interface's name", name);
		/* Or one would be made that is joined to nothing. */
		if (!if_nametoindex(name))
			return ft_fail(err, -ENODEV, "there is no tap %s; run: ip tuntap add dev %s mode tap",
				       name, name);
		strcpy(ifr.ifr_name, name);
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
