/* live: histograms of any block device's latency, by stage and operation,
 * summed up in the kernel. Nothing is sent per I/O; user space reads the
 * counters once a second. */
#include "request.h"

char _license[] SEC("license") = "GPL"; /* bpf_ktime_get_ns and BTF access ask for it */

/* Buckets: exact below 8 ns, then 8 to each power of two (12.5 % wide). */
enum { SUB_BITS = 3, SUB = 1 << SUB_BITS, BUCKETS = 320 };
enum { QUEUE, DEVICE, STAGES };
enum { READ, WRITE, FLUSH, DISCARD, OTHER, OPS };

struct life {
	u64 id; /* address of the request, 0: none */
	u64 started;
	u64 issued;
};

/* A bio that is merged into another's request stays in the map and may later be
 * reused for another drive: its sector tells it from the one that was seen. */
struct bio_start {
	u64 ns;
	u64 sector; /* the low 32 bits, all that block_split tells */
};

struct histogram {
	u64 sum; /* ns */
	u64 max; /* ns */
	u64 counts[BUCKETS];
};

struct { MAP_UINT(type, PERCPU_ARRAY); MAP_UINT(max_entries, STAGES * OPS); MAP_TYPE(key, u32); MAP_TYPE(value, struct histogram); } histograms SEC(".maps");
struct { MAP_UINT(type, ARRAY); MAP_UINT(max_entries, QUEUES * TAGS); MAP_TYPE(key, u32); MAP_TYPE(value, struct life); } lives SEC(".maps");
struct { MAP_UINT(type, LRU_HASH); MAP_UINT(max_entries, 65536); MAP_TYPE(key, u64); MAP_TYPE(value, struct bio_start); } bio_starts SEC(".maps");

/* A partition is a range of its disk's sectors (512 bytes). */
const volatile u64 first_sector = 0, last_sector = ~0ULL;
const volatile u32 bio_device = 0; /* dev_t of the device or partition, where bios count */

u64 unmatched; /* issued or completed without a known start */

static inline int watched(struct request *rq)
{
	return on_device(rq) && rq->__sector >= first_sector && rq->__sector <= last_sector;
}

static inline u32 log2_of(u64 v)
{
	u32 n = 0;
	if (v >> 32) { n += 32; v >>= 32; }
	if (v >> 16) { n += 16; v >>= 16; }
	if (v >> 8) { n += 8; v >>= 8; }
	if (v >> 4) { n += 4; v >>= 4; }
	if (v >> 2) { n += 2; v >>= 2; }
	return n + (u32)(v >> 1);
}

static inline u32 bucket_of(u64 v)
{
	if (v < SUB)
		return (u32)v;
	u32 log = log2_of(v);
	u32 i = ((log - SUB_BITS + 1) << SUB_BITS) + ((u32)(v >> (log - SUB_BITS)) & (SUB - 1));
	return i < BUCKETS ? i : BUCKETS - 1;
}

/* op_of folds enum req_op (the low 8 bits of cmd_flags and bi_opf). */
static inline u32 op_of(u32 flags)
{
	switch (flags & 0xff) {
	case 0: return READ;
	case 1: return WRITE;
	case 2: return FLUSH;
	case 3: return DISCARD;
	}
	return OTHER;
}

static inline void add(u32 stage, u32 op, u64 ns)
{
	u32 key = stage * OPS + op, i = bucket_of(ns);
	struct histogram *h = map_lookup(&histograms, &key);
	if (!h || i >= BUCKETS)
		return;
	/* Per CPU, yet an interrupt may come between: atomic all the same. */
	__sync_fetch_and_add(&h->sum, ns);
	COUNT(h->counts[i]);
	if (ns > h->max)
		h->max = ns;
}

static inline struct life *life_of(struct request *rq)
{
	u32 place = place_of(rq);
	return map_lookup(&lives, &place);
}

SEC("tp_btf/block_io_start") int on_start(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!watched(rq))
		return 0;
	struct life *l = life_of(rq);
	if (!l)
		return 0;
	l->issued = 0;
	l->started = now_ns();
	l->id = (u64)rq;
	return 0;
}

SEC("tp_btf/block_rq_issue") int on_issue(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!watched(rq))
		return 0;
	struct life *l = life_of(rq);
	if (!l)
		return 0;
	u64 now = now_ns();
	if (l->id != (u64)rq) { /* started before us */
		l->id = (u64)rq;
		l->started = 0;
		l->issued = now;
		return 0;
	}
	if (l->issued)
		return 0; /* issued again after the driver was busy */
	l->issued = now;
	add(QUEUE, op_of(rq->cmd_flags), now - l->started);
	return 0;
}

SEC("tp_btf/block_rq_complete") int on_complete(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!watched(rq) || (u32)ctx[2] < rq->__data_len)
		return 0;
	struct life *l = life_of(rq);
	if (!l)
		return 0;
	if (l->id != (u64)rq || !l->issued) {
		if (device)
			COUNT(unmatched);
		return 0;
	}
	l->id = 0;
	add(DEVICE, op_of(rq->cmd_flags), now_ns() - l->issued);
	return 0;
}

/* A whole disk's bios are also those of its partitions. */
static inline int on_bio_device(struct bio *bio)
{
	struct block_device *bdev = bio->bi_bdev;
	if (!bdev)
		return 0;
	struct gendisk *disk = bdev->bd_disk;
	return bdev->bd_dev == bio_device || (disk && number_of(disk) == bio_device);
}

SEC("tp_btf/block_bio_queue") int on_bio(u64 *ctx)
{
	struct bio *bio = (struct bio *)ctx[0];
	if (!on_bio_device(bio))
		return 0;
	u64 key = (u64)bio;
	struct bio_start s = {now_ns(), (u32)bio->bi_iter.bi_sector};
	map_update(&bio_starts, &key, &s, 0);
	return 0;
}

/* Before 6.5, and below a multipath NVMe drive, the request is known by the
 * bio that came in. One without (a flush of the kernel's own) has no queue stage. */
SEC("tp_btf/block_rq_issue") int on_issue_bio(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	u64 bio = (u64)rq->bio, now = now_ns();
	struct bio_start *s = map_lookup(&bio_starts, &bio);
	struct life *l = life_of(rq);
	if (!l || !watched(rq))
		return 0;
	if (s && s->sector == (u32)rq->__sector) {
		add(QUEUE, op_of(rq->cmd_flags), now - s->ns);
		map_delete(&bio_starts, &bio);
	} else if (!device || l->id == (u64)rq) {
		return 0; /* another's, or issued again after the driver was busy */
	}
	l->id = (u64)rq;
	l->issued = now;
	return 0;
}

/* Of a bio that is too large for one request, the front goes on as a bio of its
 * own, chained to it, which passes no block_bio_queue. */
SEC("tp_btf/block_split") int on_split(u64 *ctx)
{
	struct bio *bio = (struct bio *)ctx[0];
	u64 whole = (u64)bio->bi_private, front = (u64)bio;
	struct bio_start *w = map_lookup(&bio_starts, &whole);
	if (!w || w->sector != (u32)bio->bi_iter.bi_sector)
		return 0;
	struct bio_start s = *w;
	w->sector = (u32)ctx[1]; /* of the rest */
	map_update(&bio_starts, &front, &s, 0);
	return 0;
}

SEC("tp_btf/block_bio_complete") int on_bio_complete(u64 *ctx)
{
	struct bio *bio = (struct bio *)ctx[1];
	u64 key = (u64)bio;
	/* Its device may have changed on the way, so that one whose beginning was
	 * not seen cannot be told from another device's. */
	struct bio_start *s = map_lookup(&bio_starts, &key);
	if (!s)
		return 0;
	u64 ns = now_ns() - s->ns;
	map_delete(&bio_starts, &key);
	add(DEVICE, op_of(bio->bi_opf), ns);
	return 0;
}
