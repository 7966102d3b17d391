/* A request is known by (hardware queue, tag) while it lives. That is an
 * index into an array: no hash insert, no delete, no bucket lock per I/O.
 * Devices start at different places of it. Where two requests meet, the
 * pointer in the place tells whose it is, and the loser goes unmatched. */
#pragma once
#include "core.h"

enum { QUEUES = 64, TAGS = 1024 };

/* The disk under watch, as the kernel's dev_t: major << 20 | minor. 0 is any:
 * the hidden paths below a multipath NVMe drive have none to be known by. */
const volatile u32 device = 0;

static inline u32 number_of(struct gendisk *disk)
{
	return (u32)disk->major << 20 | (u32)disk->first_minor;
}

/* rq->part is not set yet when block_io_start fires, the queue's disk is. */
static inline int on_device(struct request *rq)
{
	if (!device)
		return 1;
	struct gendisk *disk = rq->q->disk;
	return disk && number_of(disk) == device;
}

/* With an I/O scheduler the request has only its internal tag at first. */
static inline u32 place_of(struct request *rq)
{
	struct blk_mq_hw_ctx *hctx = rq->mq_hctx;
	int tag = rq->internal_tag;
	if (tag < 0)
		tag = rq->tag;
	u32 spread = (u32)rq->q->id * 0x9e3779b1 >> 16; /* Fibonacci hashing */
	return (spread + (hctx ? hctx->queue_num : 0) * TAGS + (u32)tag) & (QUEUES * TAGS - 1);
}
