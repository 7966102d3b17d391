/* A request is known by (hardware queue, tag) while it lives. That is an
 * index into an array: no hash insert, no delete, no bucket lock per I/O.
 * Larger queues than QUEUES x TAGS share places; the pointer in the place
 * tells whose it is, and the loser goes unmatched. */
#pragma once
#include "core.h"

enum { QUEUES = 64, TAGS = 1024 };

/* The disk under watch, as the kernel's dev_t: major << 20 | minor. */
const volatile u32 device = 0;

/* rq->part is not set yet when block_io_start fires, the queue's disk is. */
static inline int on_device(struct request *rq)
{
	struct gendisk *disk = rq->q->disk;
	return disk && ((u32)disk->major << 20 | (u32)disk->first_minor) == device;
}

/* With an I/O scheduler the request has only its internal tag at first. */
static inline u32 place_of(struct request *rq)
{
	struct blk_mq_hw_ctx *hctx = rq->mq_hctx;
	int tag = rq->internal_tag;
	if (tag < 0)
		tag = rq->tag;
	return ((hctx ? hctx->queue_num : 0) & (QUEUES - 1)) * TAGS + ((u32)tag & (TAGS - 1));
}
