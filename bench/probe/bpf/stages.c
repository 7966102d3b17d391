/* stages: when each I/O of one engine passed the kernel's stations, written
 * straight into the engine's slot of a shared array. No ring buffer, no copy:
 * the engine reads its slot when it reaps the request.
 *
 * The thread that submits is known by its id. io_uring_submit_req says which
 * slot it is about to issue (the low 16 bits of user_data); block_io_start
 * follows in the same task and ties the request to that slot. A thread that
 * blocks in pread(2) or pwrite(2) has one slot for good.
 *
 * Where io_uring cannot issue a request without waiting (one that must be
 * split, a device that does not know NOWAIT), it hands it to a worker thread of
 * the process; that one is known by the request it works on.
 *
 * Every stamp is optional: the kernel skips a program that interrupts itself.
 * User space checks what it reads. */
#include "request.h"

char _license[] SEC("license") = "GPL"; /* bpf_ktime_get_ns and BTF access ask for it */

/* 128 bytes, two cache lines, so that neighbours share none (the prefetcher
 * fetches lines in pairs). */
struct slot {
	u64 submitted; /* io_uring_submit_req */
	u64 started;   /* first block_io_start, or block_bio_queue */
	u64 issued;    /* first block_rq_issue */
	u64 completed; /* last block_rq_complete, or block_bio_complete */
	u64 posted;    /* io_uring_complete */
	u32 parts;     /* requests, or bios, that carry this I/O */
	u32 parts_done;
	u64 ring_request; /* address of io_uring's request: known again by a worker */
	u64 pad[9];
};

struct thread {
	u32 tid;
	u32 slot;     /* that of the I/O being submitted */
	u32 blocking; /* the slot is fixed */
	u32 pad;
};

/* Threads stand at their id, or at the place behind where that is taken. An
 * array again: a hash look-up in three programs was 0.15 us per I/O. */
enum { THREADS = 1 << 16 };

struct owner {
	u64 rq;
	u32 slot;
	u32 pad;
};

struct bio_owner {
	u64 bio;
	u64 started;
	u32 slot;
	u32 pad;
};

/* Bios in flight, at a place that their address gives; of two that meet there
 * the first goes unmatched. */
enum { BIOS_LOG2 = 14, BIOS = 1 << BIOS_LOG2 };

struct { MAP_UINT(type, ARRAY); MAP_UINT(map_flags, MMAPABLE); MAP_UINT(max_entries, 1); MAP_TYPE(key, u32); MAP_TYPE(value, struct slot); } slots SEC(".maps");
struct { MAP_UINT(type, ARRAY); MAP_UINT(max_entries, THREADS); MAP_TYPE(key, u32); MAP_TYPE(value, struct thread); } threads SEC(".maps");
struct { MAP_UINT(type, ARRAY); MAP_UINT(max_entries, QUEUES * TAGS); MAP_TYPE(key, u32); MAP_TYPE(value, struct owner); } owners SEC(".maps");
struct { MAP_UINT(type, ARRAY); MAP_UINT(max_entries, BIOS); MAP_TYPE(key, u32); MAP_TYPE(value, struct bio_owner); } bios SEC(".maps");

/* Where the device makes no requests, its own dev_t (a partition's, say);
 * else 0: any bio of a bound thread counts, the request's disk is checked. */
const volatile u32 bio_device = 0;

u64 foreign; /* requests on the device that no bound thread started */
u64 punted;  /* io_uring requests that the kernel gave to a worker thread */
u64 partial; /* completions of a part of a request */

static inline struct thread *self(void)
{
	u32 tid = (u32)pid_tgid(), i = tid & (THREADS - 1);
	struct thread *t = map_lookup(&threads, &i);
	if (!t || t->tid == tid)
		return t;
	i = (i + 1) & (THREADS - 1);
	t = map_lookup(&threads, &i);
	return t && t->tid == tid ? t : 0;
}

enum { PF_IO_WORKER = 0x10 }; /* include/linux/sched.h */

/* worker_slot is the slot of the request that the current thread works on, if
 * it is one of io_uring's workers and the request came from a thread of ours. */
static inline struct slot *worker_slot(u32 *i)
{
	struct task_struct *task = current();
	if (!(task->flags & PF_IO_WORKER))
		return 0;
	struct io_worker *worker = task->worker_private;
	struct io_wq_work *work = 0;
	u64 user_data = 0;
	if (!worker || read_kernel(&work, sizeof(work), &worker->cur_work) || !work)
		return 0;
	struct io_kiocb *req = (void *)work - __builtin_preserve_field_info(((struct io_kiocb *)0)->work, 0);
	if (read_kernel(&user_data, sizeof(user_data), &req->cqe.user_data))
		return 0;
	*i = user_data & 0xffff;
	struct slot *s = map_lookup(&slots, i);
	return s && s->ring_request == (u64)req ? s : 0;
}

/* current_slot is the slot of the I/O that the current thread is issuing. */
static inline struct slot *current_slot(u32 *i)
{
	struct thread *t = self();
	if (!t)
		return worker_slot(i);
	*i = t->slot;
	return map_lookup(&slots, i);
}

static inline void part_done(u32 slot)
{
	struct slot *s = map_lookup(&slots, &slot);
	if (!s)
		return;
	s->completed = now_ns();
	COUNT(s->parts_done);
}

/* whoami returns the caller's thread id as the programs see it, which in a
 * PID namespace is not gettid(2)'s. */
SEC("syscall") int whoami(void *ctx)
{
	return (int)(u32)pid_tgid();
}

static inline int submit(struct io_kiocb *req)
{
	struct thread *t = self();
	if (!t || t->blocking)
		return 0;
	u32 i = req->cqe.user_data & 0xffff;
	struct slot *s = map_lookup(&slots, &i);
	if (!s)
		return 0;
	t->slot = i;
	s->started = s->issued = s->completed = s->posted = 0;
	s->parts = s->parts_done = 0;
	s->ring_request = (u64)req;
	s->submitted = now_ns();
	return 0;
}

SEC("tp_btf/io_uring_submit_req") int on_submit(u64 *ctx)
{
	return submit((struct io_kiocb *)ctx[0]);
}

/* The name of the same tracepoint before 6.3. */
SEC("tp_btf/io_uring_submit_sqe") int on_submit_sqe(u64 *ctx)
{
	return submit((struct io_kiocb *)ctx[0]);
}

SEC("tp_btf/io_uring_queue_async_work") int on_punt(u64 *ctx)
{
	if (self())
		COUNT(punted);
	return 0;
}

static inline int post(u64 user_data)
{
	struct thread *t = self();
	if (!t || t->blocking)
		return 0;
	u32 i = user_data & 0xffff;
	struct slot *s = map_lookup(&slots, &i);
	if (s)
		s->posted = now_ns();
	return 0;
}

SEC("tp_btf/io_uring_complete") int on_post(u64 *ctx)
{
	return post(((struct io_uring_cqe *)ctx[2])->user_data);
}

/* Older kernels pass the fields instead of the completion. */
SEC("tp_btf/io_uring_complete") int on_post_fields(u64 *ctx)
{
	return post(ctx[2]);
}

SEC("tp_btf/block_io_start") int on_start(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!on_device(rq))
		return 0;
	u32 place = place_of(rq);
	struct owner *o = map_lookup(&owners, &place);
	if (!o)
		return 0;
	if (o->rq == (u64)rq)
		o->rq = 0; /* reused with its tag: forget the last I/O */
	u32 i = 0;
	struct slot *s = current_slot(&i);
	if (!s) {
		COUNT(foreign);
		return 0;
	}
	if (s->parts++ == 0) {
		s->issued = s->completed = 0;
		s->parts_done = 0;
		s->started = now_ns();
	}
	o->slot = i;
	o->rq = (u64)rq;
	return 0;
}

SEC("tp_btf/block_rq_issue") int on_issue(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!on_device(rq))
		return 0;
	u32 place = place_of(rq);
	struct owner *o = map_lookup(&owners, &place);
	if (!o || o->rq != (u64)rq)
		return 0;
	u32 i = o->slot;
	struct slot *s = map_lookup(&slots, &i);
	if (s && !s->issued)
		s->issued = now_ns();
	return 0;
}

SEC("tp_btf/block_rq_complete") int on_complete(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!on_device(rq))
		return 0;
	if ((u32)ctx[2] < rq->__data_len) {
		COUNT(partial);
		return 0;
	}
	u32 place = place_of(rq);
	struct owner *o = map_lookup(&owners, &place);
	if (!o || o->rq != (u64)rq)
		return 0;
	o->rq = 0;
	part_done(o->slot);
	return 0;
}

static inline int on_bio_device(struct bio *bio)
{
	return !bio_device || (bio->bi_bdev && bio->bi_bdev->bd_dev == bio_device);
}

/* The verifier lets nobody count with a pointer that it knows as one, so the
 * bio's address is read from where it stands. */
static inline struct bio_owner *place_of_bio(const void *where, u64 *bio)
{
	if (read_kernel(bio, sizeof(*bio), where))
		return 0;
	u32 i = (u32)(*bio >> 6) * 0x9e3779b1 >> (32 - BIOS_LOG2); /* Fibonacci hashing */
	return map_lookup(&bios, &i);
}

/* on_bio stands in for on_start: on kernels without block_io_start (before
 * 6.5), and on devices that take bios and make no requests (zram, brd, dm). */
SEC("tp_btf/block_bio_queue") int on_bio(u64 *ctx)
{
	struct bio *bio = (struct bio *)ctx[0];
	u32 i = 0;
	if (!on_bio_device(bio) || !current_slot(&i))
		return 0;
	u64 address = 0;
	struct bio_owner *b = place_of_bio(&ctx[0], &address);
	if (!b)
		return 0;
	b->bio = address;
	b->slot = i;
	b->started = now_ns();
	return 0;
}

static inline struct slot *bind_bio(const void *where, u32 *slot)
{
	u64 bio = 0;
	struct bio_owner *b = place_of_bio(where, &bio);
	if (!b || b->bio != bio)
		return 0;
	u64 started = b->started;
	*slot = b->slot;
	b->bio = 0;
	struct slot *s = map_lookup(&slots, slot);
	if (!s)
		return 0;
	if (__sync_fetch_and_add(&s->parts, 1) == 0) {
		s->issued = s->completed = 0;
		s->parts_done = 0;
		s->started = started;
	}
	return s;
}

/* on_issue_bio goes with on_bio where the device makes requests. */
SEC("tp_btf/block_rq_issue") int on_issue_bio(u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	if (!on_device(rq))
		return 0;
	u32 place = place_of(rq), i = 0;
	struct owner *o = map_lookup(&owners, &place);
	if (!o)
		return 0;
	struct slot *s = bind_bio(&rq->bio, &i);
	if (!s)
		return 0;
	if (!s->issued)
		s->issued = now_ns();
	o->slot = i;
	o->rq = (u64)rq;
	return 0;
}

/* on_split goes with them. Of a bio that is too large for one request, the
 * front goes on as a bio of its own, chained to it, which passes no
 * block_bio_queue. */
SEC("tp_btf/block_split") int on_split(u64 *ctx)
{
	struct bio *bio = (struct bio *)ctx[0];
	u64 whole = 0, front = 0;
	struct bio_owner *w = place_of_bio(&bio->bi_private, &whole);
	struct bio_owner *f = place_of_bio(&ctx[0], &front);
	if (!w || !f || w->bio != whole)
		return 0;
	f->slot = w->slot;
	f->started = w->started;
	f->bio = front;
	return 0;
}

/* on_bio_complete goes with on_bio where the device makes no requests. */
SEC("tp_btf/block_bio_complete") int on_bio_complete(u64 *ctx)
{
	u32 i = 0;
	/* Its device may have changed on the way: md and NVMe multipath remap. */
	if (bind_bio(&ctx[1], &i))
		part_done(i);
	return 0;
}
