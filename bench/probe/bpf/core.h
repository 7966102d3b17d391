/* What our BPF programs need of the kernel's types and of libbpf, and no more.
 *
 * Every struct below is a part of the kernel's own: preserve_access_index
 * makes the loader look each field up in the running kernel's BTF (CO-RE), so
 * only names and types count, not offsets. Nothing is included, so that the
 * objects depend on the compiler alone. Helper numbers: bpf-helpers(7). */
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define inline inline __attribute__((always_inline))
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, type) typeof(type) *name
#define COUNT(counter) ((void)__sync_fetch_and_add(&(counter), 1))

enum { ARRAY = 2, PERCPU_ARRAY = 6, LRU_HASH = 9 }; /* enum bpf_map_type */
enum { MMAPABLE = 1 << 10 };                                  /* BPF_F_MMAPABLE */

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*now_ns)(void) = (void *)5; /* bpf_ktime_get_ns: CLOCK_MONOTONIC */
static u64 (*pid_tgid)(void) = (void *)14;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct gendisk { int major, first_minor; };
struct request_queue { struct gendisk *disk; int id; };
struct block_device { u32 bd_dev; struct gendisk *bd_disk; };
struct bvec_iter { u64 bi_sector; };
struct bio { struct block_device *bi_bdev; u32 bi_opf; struct bvec_iter bi_iter; void *bi_private; };
struct blk_mq_hw_ctx { u32 queue_num; };
struct request {
	struct request_queue *q;
	struct blk_mq_hw_ctx *mq_hctx;
	u32 cmd_flags;
	int tag, internal_tag;
	u32 __data_len;
	u64 __sector;
	struct bio *bio;
};
struct io_cqe { u64 user_data; };
struct io_wq_work { u32 flags; };
struct io_kiocb { struct io_cqe cqe; struct io_wq_work work; };
struct io_uring_cqe { u64 user_data; };
struct io_worker { struct io_wq_work *cur_work; };
struct task_struct { u32 flags; void *worker_private; };
#pragma clang attribute pop

static struct task_struct *(*current)(void) = (void *)158; /* bpf_get_current_task_btf */
