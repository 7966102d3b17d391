package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/engine"
)

// load is what is asked for.
type load struct {
	Path   string
	Engine string
	RW     string // read, write, randread, randwrite
	Block  int    // bytes
	Depth  int
	Size   int64 // bytes of the target to use, 0 all
	Time   time.Duration
}

// result is what is printed.
type result struct {
	Engine string  `json:"engine"`
	IOPS   float64 `json:"iops"`
	MBps   float64 `json:"mbps"` // 10^6 bytes a second
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	CPU    float64 `json:"cpu_us_per_io"`
}

func parse(args []string, stderr io.Writer) (*load, int) {
	l := new(load)
	f := flag.NewFlagSet("blockload", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&l.Path, "target", "", "file or block device; writes destroy its content")
	f.StringVar(&l.Engine, "engine", engine.Auto, strings.Join(engine.Names(), ", "))
	f.StringVar(&l.RW, "rw", "randread", "read, write, randread or randwrite")
	f.IntVar(&l.Block, "bs", 4096, "block size in bytes")
	f.IntVar(&l.Depth, "depth", 1, "requests in flight")
	f.Int64Var(&l.Size, "size", 0, "bytes of the target to use, from its start; 0 is all")
	f.DurationVar(&l.Time, "time", time.Second, "how long")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, 0
		}
		return nil, 2
	}
	if err := l.check(f.NArg()); err != nil {
		fmt.Fprintln(stderr, "blockload:", err)
		return nil, 2
	}
	return l, -1
}

func (l *load) check(extra int) error {
	switch {
	case extra > 0 || l.Path == "":
		return errors.New("want --target PATH and no other arguments")
	case l.RW != "read" && l.RW != "write" && l.RW != "randread" && l.RW != "randwrite":
		return fmt.Errorf("--rw %s: want read, write, randread or randwrite", l.RW)
	case l.Block <= 0 || l.Depth <= 0 || l.Time <= 0 || l.Size < 0:
		return errors.New("--bs, --depth and --time must be positive, --size not negative")
	}
	return nil
}

func report(r *result, err error) func(stdout, stderr io.Writer) int {
	return func(stdout, stderr io.Writer) int {
		if err == nil {
			err = json.NewEncoder(stdout).Encode(r)
		}
		if err != nil {
			fmt.Fprintln(stderr, "blockload:", err)
			return 1
		}
		return 0
	}
}

func (l *load) run(ctx context.Context) (_ *result, err error) {
	write := strings.HasSuffix(l.RW, "write")
	d, err := engine.Open(l.Path, l.Engine, engine.Options{ReadOnly: !write})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if l.Size == 0 || l.Size > d.Info().Size {
		l.Size = d.Info().Size
	}
	if l.Size < int64(l.Block) {
		return nil, fmt.Errorf("%s: %d bytes are less than one block of %d", l.Path, l.Size, l.Block)
	}
	arena, err := blockdev.NewArena(l.Depth * roundUp(l.Block))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, arena.Close()) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: l.Depth, Buffers: arena, MaxTransfer: roundUp(l.Block)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	w := &worker{load: l, q: q, hist: hdrhistogram.New(1, int64(time.Minute), 3)}
	w.prepare(arena, write)
	return w.measure(ctx, d.Info().Engine)
}

func roundUp(n int) int { return (n + blockdev.PageSize - 1) &^ (blockdev.PageSize - 1) }

// worker keeps the load's depth in flight and measures.
type worker struct {
	*load
	q    blockdev.Queue
	hist *hdrhistogram.Histogram
	reqs []*blockdev.Request
	rng  *rand.Rand
	next int64 // sequential offset
}

func (w *worker) prepare(arena *blockdev.Arena, write bool) {
	w.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	op := blockdev.Read
	if write {
		op = blockdev.Write
	}
	for range w.Depth {
		buf := arena.Cut(w.Block)
		for i := range buf {
			buf[i] = byte(w.rng.Uint32()) // incompressible
		}
		w.reqs = append(w.reqs, &blockdev.Request{Op: op, Buf: buf})
	}
}

func (w *worker) offset() int64 {
	blocks := w.Size / int64(w.Block)
	if strings.HasPrefix(w.RW, "rand") {
		return w.rng.Int64N(blocks) * int64(w.Block)
	}
	off := w.next
	w.next = (off + int64(w.Block)) % (blocks * int64(w.Block))
	return off
}

func (w *worker) measure(ctx context.Context, name string) (*result, error) {
	cpu, start := cpuTime(), blockdev.Now()
	end := start + w.Time.Nanoseconds()
	ios, err := w.loop(ctx, end)
	if err != nil {
		return nil, err
	}
	seconds := float64(blockdev.Now()-start) / 1e9
	return &result{
		Engine: name,
		IOPS:   float64(ios) / seconds,
		MBps:   float64(ios) * float64(w.Block) / seconds / 1e6,
		P50:    float64(w.hist.ValueAtQuantile(50)) / 1e3,
		P99:    float64(w.hist.ValueAtQuantile(99)) / 1e3,
		CPU:    float64(cpuTime()-cpu) / 1e3 / float64(max(ios, 1)),
	}, nil
}

// loop submits what has come back, in one batch, and waits for at least one.
func (w *worker) loop(ctx context.Context, end int64) (ios int64, err error) {
	done := make([]*blockdev.Request, w.Depth)
	for back, inflight := w.reqs, 0; ; {
		if blockdev.Now() < end && ctx.Err() == nil {
			for _, r := range back {
				r.Offset = w.offset()
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
			_ = w.hist.RecordValue(r.Stamps.Reaped - r.Stamps.Submitted) // above a minute it is left out
		}
		back, inflight, ios = done[:n], inflight-n, ios+int64(n)
	}
}

// cpuTime is the process's, user and system, in nanoseconds.
func cpuTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
