// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>
#include "again.h"
#include "config.h"
#include "look.h"
#include "op.h"
#include "text.h"

#define LOOK_US		1000000
#define WAIT_MS		2000	/* between one try and the next ... */
#define WAIT_MAX_MS	60000	/* ... growing up to this */
#define GOOD_MS		60000	/* what did not last as long is no success */
#define RESET_NS	60000000000ULL	/* QEMU's word of it may be read late, or early */

static int64_t wait_ms(const struct guest *g)
{
	return ft_wait_ms(WAIT_MS, WAIT_MAX_MS, g->again_tries);
}

static void forget_why(struct guest *g)
{
	*g->again_why = '\0';
	memset(g->again_said, 0, sizeof(g->again_said));
}

void again_wanted(struct guest *g)
{
	int64_t now = ft_now_ms();

	g->again = true;
	g->again_since = now;
	g->again_turn = 0;
	forget_why(g);
	if (!g->again_good || now - g->again_good > GOOD_MS) {
		g->again_tries = 0;
		g->again_at = now;
	} else {
		g->again_at = now + wait_ms(g);
	}
	guests_save();
}

void again_dismiss(struct guest *g)
{
	g->again = false;
	g->again_waits = false;
	g->alone = true;
	guests_save();
}

/*
 * Are so many others at it, or before it in the queue, that it has to wait? Each copies disks and memory, to
 * one host in the end. Who has waited for longest comes first; one that fails has to get in line again.
 */
static bool has_to_wait(const struct guest *g, const struct ftconfig *c)
{
	const struct guest *h;
	unsigned int n = 0;

	for (h = ftd_guests; h; h = h->next)
		n += op_protects_by_itself(h) || (h != g && h->again && h->again_waits && h->attached && !h->busy &&
						  !h->gone && !h->ended && h->again_at < g->again_at);
	return n >= c->guests.at_once;
}

/* Is that standby one that is not in the list before: the last peer, or one of those before it? */
static bool another(const struct guest *g, const struct ftconfig *c, size_t standby)
{
	size_t i;

	for (i = 0; i < standby && strcmp(c->guests.standby[i], c->guests.standby[standby]); i++)
		;
	return i == standby && strcmp(c->guests.standby[i], g->again_peer);
}

/*
 * Whose turn is it? The last peer's, and then that of each standby, whose disks are to be
 * overwritten: not while the last one may be about to come back.
 */
static size_t turn_of(const struct guest *g, const struct ftconfig *c)
{
	size_t n = 1, i;

	if (ft_now_ms() - g->again_since < c->guests.standby_after_s * 1000LL)
		return 0;
	for (i = 0; i < c->guests.n_standby; i++)
		n += another(g, c, i);
	return g->again_turn % n;
}

static const char *next_host(const struct guest *g, const struct ftconfig *c)
{
	size_t turn = turn_of(g, c), i;

	for (i = 0; turn && i < c->guests.n_standby; i++)
		if (another(g, c, i) && !--turn)
			return c->guests.standby[i];
	return g->again_peer;
}

/* Each host may have another reason, time and again: what was said of one is not said once more. */
static bool is_news(struct guest *g, const char *why)
{
	return ft_is_news(&g->again_said[g->again_turn % ARRAY_SIZE(g->again_said)], why);
}

void again_succeeded(struct guest *g)
{
	g->again_tries++;
	g->again = false;
	g->alone = false;
	g->again_good = ft_now_ms();
	forget_why(g);
}

void again_failed(struct guest *g, const char *why, bool turn)
{
	if (why && is_news(g, why))
		ft_log(SD_WARNING, "guest %s can't be protected again: %s; trying on", g->name, why);
	if (why)
		snprintf(g->again_why, sizeof(g->again_why), "%s", why);
	g->again_at = ft_now_ms() + wait_ms(g);
	g->again_tries++;
	g->again_turn += turn;
}

json_t *again_json(const struct guest *g)
{
	int64_t left = g->again_at - ft_now_ms();
	json_t *json, *why;

	if (!g->again)
		return NULL;
	json = json_pack("{s:s, s:I, s:i, s:b}", "host", next_host(g, ftd_config()), "in_ms",
			 (json_int_t)(left > 0 ? left : 0), "tries", (int)g->again_tries, "waits", g->again_waits);
	why = json_string(g->again_why);
	json_object_set_new(json, "error", why ? why : json_string("(not UTF-8)"));
	return json;
}

/* Is that what has ended its pairing, and not another time? */
static bool was_reset(const struct guest *g)
{
	const struct history *h = history_find(g->name);
	uint64_t reset = g->qmp.reset_ns;

	return h && reset && (reset > h->since_ns ? reset - h->since_ns : h->since_ns - reset) < RESET_NS;
}

/*
 * It lost its peer. One that was unpaired is alone as somebody wants it so, or must be seen to.
 * What QEMU changes where the guest reboots is nobody's meddling.
 */
static bool lost_peer(const struct guest *g, const struct ftreplica *r)
{
	switch (r->reason) {
	case FTKVM_REASON_UNPAIRED:
	case FTKVM_REASON_DIVERGED:
	case FTKVM_REASON_LOCAL:
	case FTKVM_REASON_STORAGE:
		return false;
	case FTKVM_REASON_GUEST_TOUCHED:
		return r->state == FTKVM_UAPI_STATE_SOLO && was_reset(g);
	default:
		return r->state == FTKVM_UAPI_STATE_SOLO;
	}
}

/* May it be tried now? */
static bool is_due(const struct guest *g, const struct ftreplica *r)
{
	/* the arbiter is told of the last pairing's end first */
	if (!g->again || g->busy || g->ended || !g->attached || *g->session || ft_now_ms() < g->again_at)
		return false;
	/* it may be on its way there */
	return r->state == FTKVM_UAPI_STATE_SOLO || r->state == FTKVM_UAPI_STATE_IDLE;
}

/*
 * What is it to do when its next peer is lost? An operator's word, 0 where there is none: what came with an
 * arbiter, or is the module's default, is none. ftctl set tells the module, and not ftd.
 */
static uint32_t loss_said(const struct guest *g, const struct ftreplica *r)
{
	if (g->loss_said)
		return r->on_loss;
	return r->on_loss == (g->loss_lent ? FTKVM_UAPI_LOSS_HOLD : FTKVM_UAPI_LOSS_SOLO) ? 0 : r->on_loss;
}

static bool free_to_work(const struct guest *g)
{
	return g->attached && !g->busy && !g->gone && !g->ended && g->qmp.fd >= 0;
}

static void look_at(struct guest *g, const struct ftreplica *r)
{
	const struct ftconfig *c = ftd_config();
	struct fterr err;

	if (g->fresh && free_to_work(g))
		pair_look(g, r);
	if (g->going && free_to_work(g))
		switch_resume(g, r);
	if (r->state == FTKVM_UAPI_STATE_PRIMARY && !g->busy)
		g->alone = false;
	if (!g->again && !g->alone && c->guests.protect_again && !g->busy && lost_peer(g, r) && *r->peer) {
		snprintf(g->again_peer, sizeof(g->again_peer), "%s", r->peer);
		again_wanted(g);
	}
	g->again_waits = is_due(g, r);
	if (!g->again_waits)
		return;
	if (!*g->again_peer)
		snprintf(g->again_peer, sizeof(g->again_peer), "%s", r->peer);
	g->again_waits = has_to_wait(g, c);
	if (g->again_waits)
		return;
	g->again_turn = turn_of(g, c);
	if (protect_again(g, next_host(g, c), loss_said(g, r), &err))
		again_failed(g, err.text, false);
}

/* Is there one of which the module is to be asked? */
static bool any(void)
{
	struct guest *g;

	for (g = ftd_guests; g; g = g->next)
		if (g->again || g->going || g->fresh || ftd_config()->guests.protect_again)
			return true;
	return false;
}

void again_mend(void)
{
	struct guest *g;

	for (g = ftd_guests; g; g = g->next)
		if (g->moving != FT_STAYS && free_to_work(g))
			protect_mend(g);
}

static void look(void)
{
	again_mend();
	if (any())
		look_at_all(look_at);
}

static struct look_timer timer = { .usec = LOOK_US, .look = look };

int again_init(struct fterr *err)
{
	return look_begin(&timer, err);
}

void again_end(void)
{
	look_end(&timer);
}
