package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// result is one run.
type result struct {
	Stage  string  `json:"stage"`
	Round  int     `json:"round"`
	Engine string  `json:"engine"`
	IOPS   float64 `json:"iops"`
	MBps   float64 `json:"mbps"` // 10^6 bytes a second
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	CPU    float64 `json:"cpu_us_per_io"` // of this process, user and system
}

// worker keeps the load's depth in flight and measures.
type worker struct {
	*load
	q    blockdev.Queue
	base int64
	hist *hdrhistogram.Histogram
	reqs []*blockdev.Request
	rng  *rand.Rand
	next int64 // sequential offset
	seen byte  // what was looked at last
}

func newWorker(l *load, q blockdev.Queue, base int64, arena *blockdev.Arena) *worker {
	w := &worker{load: l, q: q, base: base, hist: hdrhistogram.New(1, int64(time.Minute), 3)}
	w.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	op := blockdev.Read
	if strings.HasSuffix(l.rw, "write") {
		op = blockdev.Write
	}
	for range l.depth {
		buf := arena.Cut(l.block)
		for i := range buf {
			buf[i] = byte(w.rng.Uint32()) // incompressible
		}
		w.reqs = append(w.reqs, &blockdev.Request{Op: op, Buf: buf})
	}
	return w
}

func (w *worker) offset() int64 {
	blocks := w.size / int64(w.block)
	if strings.HasPrefix(w.rw, "rand") {
		return w.base + w.rng.Int64N(blocks)*int64(w.block)
	}
	off := w.next
	w.next = (off + int64(w.block)) % (blocks * int64(w.block))
	return w.base + off
}

func (w *worker) measure(ctx context.Context) (*result, error) {
	cpu, start := cpuTime(), blockdev.Now()
	ios, err := w.loop(ctx, start+w.time.Nanoseconds())
	if err != nil {
		return nil, err
	}
	seconds := float64(blockdev.Now()-start) / 1e9
	return &result{
		IOPS: float64(ios) / seconds,
		MBps: float64(ios) * float64(w.block) / seconds / 1e6,
		P50:  float64(w.hist.ValueAtQuantile(50)) / 1e3,
		P99:  float64(w.hist.ValueAtQuantile(99)) / 1e3,
		CPU:  float64(cpuTime()-cpu) / 1e3 / float64(max(ios, 1)),
	}, nil
}

// loop submits what has come back, in one batch, and waits for at least one.
func (w *worker) loop(ctx context.Context, end int64) (ios int64, err error) {
	done := make([]*blockdev.Request, w.depth)
	for back, inflight, now := w.reqs, 0, int64(0); ; {
		if now < end && ctx.Err() == nil {
			for _, r := range back {
				r.Offset = w.offset()
				w.use(r, blockdev.Write)
			}
			n, err := w.q.Submit(back)
			if err == nil && n != len(back) {
				err = fmt.Errorf("queue with room took %d of %d requests", n, len(back))
			}
			if err != nil {
				return ios, err
			}
			inflight += n
		}
		if inflight == 0 {
			return ios, nil
		}
		n, err := w.q.Reap(done, 1)
		if err != nil {
			return ios, err
		}
		for _, r := range done[:n] {
			if r.Err != nil {
				return ios, r.Err
			}
			now = r.Stamps.Reaped
			w.use(r, blockdev.Read)
			_ = w.hist.RecordValue(now - r.Stamps.Submitted) // above a minute it is left out
		}
		back, inflight, ios = done[:n], inflight-n, ios+int64(n)
	}
}

// use touches each cache line of the data, as whoever made it or wants it
// would. Memory that nobody but the drive touches is cheaper to read and
// write, on a virtual drive by far.
func (w *worker) use(r *blockdev.Request, op blockdev.Op) {
	if !w.touch || r.Op != op {
		return
	}
	for i := 0; i < len(r.Buf); i += 64 {
		if op == blockdev.Write {
			r.Buf[i]++
		}
		w.seen ^= r.Buf[i]
	}
}

// cpuTime is the process's, user and system, in nanoseconds.
func cpuTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic("blockload: " + err.Error()) // getrusage(2) fails only on a bad argument
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
