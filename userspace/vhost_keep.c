// SPDX-License-Identifier: GPL-2.0
/* A vhost-user connection that outlives ftd: what the client has said, for the next one. */
#define _GNU_SOURCE
#include <errno.h>
#include "vhost_request.h"

/* Descriptors can't be kept, but the module has those of a queue that runs. */
static bool settled(const struct vu *vu)
{
	unsigned int n;

	for (n = 0; n < vu->nqueues; n++)
		if (vu->queue[n].assumed ||
		    (!vu->queue[n].running && (vu->queue[n].kick >= 0 || vu->queue[n].kept)))
			return false;
	return vu->doing == VU_IDLE && !vu->have && !vu->nfds;
}

json_t *vu_keep(const struct vu *vu)
{
	json_t *regions, *queues;
	unsigned int i;

	if (!settled(vu))
		return NULL;
	regions = json_array();
	for (i = 0; i < vu->nregions; i++)
		json_array_append_new(regions, json_pack("[III]", (json_int_t)vu->region[i].gpa,
							 (json_int_t)vu->region[i].size,
							 (json_int_t)vu->region[i].hva));
	queues = json_array();
	for (i = 0; i < vu->nqueues; i++) {
		const struct vu_queue *q = &vu->queue[i];

		json_array_append_new(queues, json_pack("[IIIIIbbbb]", (json_int_t)q->num, (json_int_t)q->base,
							(json_int_t)q->hva_desc, (json_int_t)q->hva_avail,
							(json_int_t)q->hva_used, q->placed, q->based, q->enabled,
							q->running));
	}
	return json_pack("{s:I, s:I, s:b, s:o, s:o}", "features", (json_int_t)vu->features, "protocol",
			 (json_int_t)vu->protocol, "negotiated", vu->negotiated, "regions", regions, "queues", queues);
}

static int read_region(struct vu_region *r, json_t *json)
{
	json_int_t gpa, size, hva;

	if (json_unpack(json, "[III!]", &gpa, &size, &hva))
		return -EINVAL;
	*r = (struct vu_region) { gpa, size, hva };
	return 0;
}

static int read_queue(struct vu *vu, struct vu_queue *q, json_t *json)
{
	json_int_t num, base, desc, avail, used;
	int placed, based, enabled, running;

	if (json_unpack(json, "[IIIIIbbbb!]", &num, &base, &desc, &avail, &used, &placed, &based, &enabled, &running))
		return -EINVAL;
	q->num = num;
	q->base = base;
	q->hva_desc = desc;
	q->hva_avail = avail;
	q->hva_used = used;
	q->placed = placed;
	q->based = based;
	q->enabled = enabled;
	q->running = q->kept = running;
	return running && !vu_find_rings(vu, q, &q->desc, &q->avail, &q->used) ? -EINVAL : 0;
}

int vu_restore(struct vu *vu, json_t *state, struct fterr *err)
{
	json_int_t features, protocol;
	json_t *regions, *queues;
	int negotiated, ret;
	unsigned int i;

	ret = json_unpack(state, "{s:I, s:I, s:b, s:o, s:o}", "features", &features, "protocol", &protocol,
			  "negotiated", &negotiated, "regions", &regions, "queues", &queues) ? -EINVAL : 0;
	if (!ret && (json_array_size(regions) > VU_REGIONS || json_array_size(queues) != vu->nqueues))
		ret = -EINVAL;
	if (!ret) {
		vu->features = features;
		vu->protocol = protocol;
		vu->negotiated = negotiated;
		vu->nregions = json_array_size(regions);
	}
	for (i = 0; !ret && i < vu->nregions; i++)
		ret = read_region(&vu->region[i], json_array_get(regions, i));
	for (i = 0; !ret && i < vu->nqueues; i++)
		ret = read_queue(vu, &vu->queue[i], json_array_get(queues, i));
	return ret ? ft_fail(err, ret, "what a former ftd has noted of it is not understood") : 0;
}
