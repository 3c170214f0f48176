// SPDX-License-Identifier: GPL-2.0
/*
 * A network card's packets, to and from an interface of the host: a tap, or a macvtap.
 * Its descriptor is one that reads and writes whole packets behind a header (IFF_VNET_HDR
 * of 12 bytes) and does not wait; ftd has set it up so.
 */
#include <linux/etherdevice.h>
#include <linux/fs.h>
#include <linux/if_arp.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include "device.h"

/* ---- what comes ---- */

#define ANNOUNCEMENTS	5
#define ANNOUNCE_MS	100
/* packets that an interface may keep: more than by default, and it can be set */
#define FORGET_MOST	10000

static int net_came(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	struct ftkvm_dev *dev = container_of(entry, struct ftkvm_dev, net.wait);

	if (!key || (key_to_poll(key) & EPOLLIN))
		queue_work(ftkvm_dev_work, &dev->q[FTKVM_VNET_RX].work);
	return 0;
}

static void net_announce_work(struct work_struct *work);

struct net_poll {
	poll_table table;
	struct ftkvm_dev *dev;
};

static void net_poll(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct ftkvm_net *net = &container_of(table, struct net_poll, table)->dev->net;

	if (net->head)
		return;
	net->head = head;
	init_waitqueue_func_entry(&net->wait, net_came);
	add_wait_queue(head, &net->wait);
}

/**
 * ftkvm_net_open() - a card's interface
 * @dev: the card
 * @file: the interface's descriptor; a reference goes to @dev
 * @why: cause and remedy on failure
 * @size: of @why
 *
 * Context: process.
 * Return: 0, -EINVAL, -ENOMEM.
 */
int ftkvm_net_open(struct ftkvm_dev *dev, struct file *file, char *why, size_t size)
{
	struct net_poll poll = { .dev = dev };

	if (!S_ISCHR(file_inode(file)->i_mode) || !(file->f_flags & O_NONBLOCK) ||
	    !(file->f_mode & FMODE_READ) || !(file->f_mode & FMODE_WRITE)) {
		snprintf(why, size, "the card's interface is no tap or macvtap, open for both and not to wait");
		return -EINVAL;
	}
	dev->net.packet = kvmalloc(FTKVM_VNET_BYTES, GFP_KERNEL_ACCOUNT);
	if (!dev->net.packet)
		return -ENOMEM;
	INIT_DELAYED_WORK(&dev->net.announce, net_announce_work);
	dev->file = get_file(file);
	init_poll_funcptr(&poll.table, net_poll);
	vfs_poll(file, &poll.table);
	if (dev->net.head)
		return 0;
	snprintf(why, size, "the card's interface is gone");
	return -EINVAL;
}

/**
 * ftkvm_net_close() - hear no more of an interface
 * @dev: the card, that nobody uses any more; or another device
 *
 * Its workers may yet be at it.
 * Context: process.
 */
void ftkvm_net_close(struct ftkvm_dev *dev)
{
	if (!dev->net.packet)
		return;
	cancel_delayed_work_sync(&dev->net.announce);
	if (dev->net.head)
		remove_wait_queue(dev->net.head, &dev->net.wait);
}

/**
 * ftkvm_net_features() - a driver has set the card up
 * @dev: the card
 * @features: what it accepted; the same on both hosts
 *
 * Context: process; the receive queue's lock.
 */
void ftkvm_net_features(struct ftkvm_dev *dev, u64 features)
{
	dev->net.merge = features & BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
}

/**
 * ftkvm_net_receive() - take a packet from the interface
 * @dev: the card; what comes is in its @net.packet
 *
 * Context: the receive queue's worker; or nobody else is at it.
 * Return: its bytes with the header; 0: there is none; less: it can't be had, and the next
 * one may.
 */
int ftkvm_net_receive(struct ftkvm_dev *dev)
{
	loff_t pos = 0;
	ssize_t n = kernel_read(dev->file, dev->net.packet, FTKVM_VNET_BYTES, &pos);

	if (n >= (ssize_t)FTKVM_VNET_HDR)
		return n;
	/* nothing there, or an interface that is down or gone */
	if (n == -EAGAIN || n == -EBADFD || n == -EIO || !n)
		return 0;
	atomic64_inc(&dev->net.lost);
	return -EIO;
}

/**
 * ftkvm_net_forget() - what has come until now is not for the guest
 * @dev: the card
 *
 * A backup's interface gets what its network can't place: the primary's guest had it.
 * Context: process; no worker is at the receive queue.
 */
void ftkvm_net_forget(struct ftkvm_dev *dev)
{
	unsigned int n;

	for (n = 0; n < FORGET_MOST && ftkvm_net_receive(dev); n++)
		;
	dev->net.held = 0;
}

/* ---- what goes ---- */

/* Whether it went is not the guest's business: networks lose packets. */
static void net_write(struct ftkvm_dev *dev, const void *data, u32 len)
{
	loff_t pos = 0;

	if (kernel_write(dev->file, data, len, &pos) != len)
		atomic64_inc(&dev->net.lost);
}

/**
 * ftkvm_net_send() - let a packet out
 * @dev: the card
 * @req: the packet
 *
 * Context: the transmit queue's worker.
 */
void ftkvm_net_send(struct ftkvm_dev *dev, const struct ftkvm_vreq *req)
{
	if (req->len)
		net_write(dev, req->data, req->len);
	else
		atomic64_inc(&dev->net.lost);
}

/**
 * ftkvm_net_learn() - whose packets are these?
 * @dev: the card
 * @req: a packet that the guest sends
 *
 * Context: process; the queue's lock.
 */
void ftkvm_net_learn(struct ftkvm_dev *dev, const struct ftkvm_vreq *req)
{
	const struct ethhdr *eth = req->data + FTKVM_VNET_HDR;

	if (req->len >= FTKVM_VNET_HDR + ETH_HLEN && is_valid_ether_addr(eth->h_source))
		ether_addr_copy(dev->net.mac, eth->h_source);
}

/*
 * A reverse ARP request from the guest's address, as QEMU sends after a migration: switches
 * learn from it, and nobody answers.
 */
static void net_announce(struct ftkvm_dev *dev)
{
	struct {
		struct virtio_net_hdr_v1 hdr;
		struct ethhdr eth;
		struct arphdr arp;
		u8 sender[ETH_ALEN], sender_ip[4], target[ETH_ALEN], target_ip[4];
		u8 pad[18];
	} __packed p = { };

	eth_broadcast_addr(p.eth.h_dest);
	ether_addr_copy(p.eth.h_source, dev->net.mac);
	p.eth.h_proto = htons(ETH_P_RARP);
	p.arp.ar_hrd = htons(ARPHRD_ETHER);
	p.arp.ar_pro = htons(ETH_P_IP);
	p.arp.ar_hln = ETH_ALEN;
	p.arp.ar_pln = 4;
	p.arp.ar_op = htons(ARPOP_RREQUEST);
	ether_addr_copy(p.sender, dev->net.mac);
	ether_addr_copy(p.target, dev->net.mac);
	net_write(dev, &p, sizeof(p));
}

static void net_announce_work(struct work_struct *work)
{
	struct ftkvm_dev *dev = container_of(to_delayed_work(work), struct ftkvm_dev, net.announce);

	net_announce(dev);
	if (++dev->net.announced < ANNOUNCEMENTS)
		queue_delayed_work(ftkvm_dev_work, &dev->net.announce,
				   msecs_to_jiffies(ANNOUNCE_MS * dev->net.announced));
}

/**
 * ftkvm_net_announce() - tell the network where the guest is now
 * @dev: the card
 *
 * Several times: one may be lost.
 * Context: process.
 */
void ftkvm_net_announce(struct ftkvm_dev *dev)
{
	if (is_zero_ether_addr(dev->net.mac))
		return;
	dev->net.announced = 0;
	queue_delayed_work(ftkvm_dev_work, &dev->net.announce, 0);
}
