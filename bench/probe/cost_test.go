package probe_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"sealbay/bench/probe"
	"sealbay/bench/stats"
	"sealbay/blockcrypt/blockdev"
)

// BenchmarkCost tells what the probes add to an I/O of 4 KiB, on a loop device
// over tmpfs and on zram: the programs, and taking and recording the stamps. Slices with
// and without probes alternate, so that a busy host spoils both alike; the
// figures are medians of the paired differences, with the sign test's interval.
func BenchmarkCost(b *testing.B) {
	loop, ram := loopDevice(b, 64<<20), zram(b, 64<<20)
	for _, c := range []struct {
		name, path, engine string
		depth              int
	}{
		{"loop io_uring QD1", loop, "io_uring", 1},
		{"loop io_uring QD32", loop, "io_uring", 32},
		{"loop direct QD1", loop, "direct", 1},
		{"zram direct QD1", ram, "direct", 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			var on, off []slice
			for b.Loop() {
				on, off = pairs(b, c.engine, c.path, c.depth, 100)
			}
			report(b, "us/IO", on, off, func(s slice) float64 { return s.perIO })
			// A request waits for depth-1 others: its share of the median.
			report(b, "us/IO-p50", on, off, func(s slice) float64 { return s.p50 / float64(c.depth) })
		})
	}
}

// slice is what one short run of I/O showed; microseconds.
type slice struct{ perIO, p50 float64 }

func report(b *testing.B, unit string, on, off []slice, figure func(slice) float64) {
	var x, y []float64
	for i := range on {
		x, y = append(x, figure(on[i])), append(y, figure(off[i]))
	}
	us, ci := stats.Shift(x, y)
	slices.Sort(y)
	b.ReportMetric(us, "added-"+unit)
	b.Logf("%s: without %.2f, probes add %.3f (%.3f to %.3f), %d pairs", unit, y[len(y)/2], us, ci.Low, ci.High, len(on))
}

// pairs alternates n times between a slice with probes and one without.
func pairs(b *testing.B, engine, path string, depth, n int) (on, off []slice) {
	p := open(b, path)
	dev := openEngine(b, engine, path)
	defer func() { must(b, errors.Join(dev.Close(), p.Close())) }()
	onOneThread(b, func() error {
		r, err := newReader(p, dev, depth)
		if err != nil {
			return err
		}
		for i := range 2 * n {
			with := i%2 == i/2%2 // on off, off on
			if err := r.toggle(with); err != nil {
				return err
			}
			s, err := r.slice(3000, with)
			if err != nil {
				return err
			}
			if with {
				on = append(on, s)
			} else {
				off = append(off, s)
			}
		}
		return r.close()
	})
	return on, off
}

// reader keeps a queue full of reads.
type reader struct {
	p        *probe.Probe
	w        *probe.Watch
	q        blockdev.Queue
	arena    *blockdev.Arena
	recorder *probe.Recorder
	hist     *stats.Hist
	reqs     []*blockdev.Request
	done     []*blockdev.Request
	blocks   int64
	seed     uint64
}

func newReader(p *probe.Probe, dev blockdev.Device, depth int) (*reader, error) {
	r := &reader{p: p, recorder: probe.NewRecorder(p), hist: stats.NewHist(), seed: 1,
		done: make([]*blockdev.Request, depth), blocks: dev.Info().Size / 4096}
	var err error
	if r.arena, err = blockdev.NewArena(depth * 4096); err != nil {
		return nil, err
	}
	for range depth {
		r.reqs = append(r.reqs, &blockdev.Request{Op: blockdev.Read, Buf: r.arena.Cut(4096)})
	}
	if r.w, err = p.Watch(depth); err != nil {
		return nil, err
	}
	if r.q, err = dev.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: r.arena, SlotBase: r.w.SlotBase}); err != nil {
		return nil, err
	}
	return r, r.w.Bind(r.q)
}

func (r *reader) close() error { return errors.Join(r.q.Close(), r.w.Close(), r.arena.Close()) }

func (r *reader) toggle(on bool) error {
	runtime.GC()
	if on {
		return r.p.Resume()
	}
	return r.p.Pause()
}

// slice does n reads after as many tenths to warm up.
func (r *reader) slice(n int, record bool) (slice, error) {
	next := append([]*blockdev.Request(nil), r.reqs...)
	var began int64
	warm := n / 10
	for count, reaped := 0, 0; reaped < n+warm; {
		for _, q := range next {
			r.seed = r.seed*6364136223846793005 + 1442695040888963407
			q.Offset = int64(r.seed>>33) % r.blocks * 4096
			q.Tag = uint64(blockdev.Now())
		}
		next = next[:min(len(next), n+warm-count)]
		took, err := r.q.Submit(next)
		if err != nil || took != len(next) {
			return slice{}, fmt.Errorf("took %d of %d requests: %w", took, len(next), err)
		}
		count += took
		got, err := r.q.Reap(r.done, 1)
		if err != nil {
			return slice{}, err
		}
		now := blockdev.Now()
		for _, q := range r.done[:got] {
			r.hist.Record(now - int64(q.Tag))
			if record {
				r.recorder.Record(q, now-int64(q.Tag))
			}
		}
		if reaped += got; began == 0 && reaped >= warm {
			began = now
			n += warm - reaped // what came at once does not count
			warm = reaped
			r.hist.Reset()
		}
		next = append(next[:0], r.done[:got]...)
	}
	p50, _ := r.hist.Quantile(0.5)
	return slice{float64(blockdev.Now()-began) / 1e3 / float64(n), float64(p50) / 1e3}, nil
}
