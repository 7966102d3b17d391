package workload

import (
	"sync/atomic"
	"testing"
	"time"

	"sealbay/bench/stats"
	"sealbay/blockcrypt/blockdev"
)

// null completes every request at once and moves nothing: what is left is the
// cost of the loop itself.
type null struct{ blockdev.Device }

type nullQueue struct{ held []*blockdev.Request }

func (null) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	return &nullQueue{held: make([]*blockdev.Request, 0, o.Depth)}, nil
}

func (q *nullQueue) Submit(r []*blockdev.Request) (int, error) {
	q.held = append(q.held, r...)
	return len(r), nil
}

func (q *nullQueue) Reap(done []*blockdev.Request, _ int) (int, error) {
	n := copy(done, q.held)
	q.held = q.held[:0]
	return n, nil
}

func (q *nullQueue) Depth() int   { return cap(q.held) }
func (q *nullQueue) Close() error { return nil }

func nullLoop(tb testing.TB, w Workload) *Loop {
	bufs, err := NewBuffers(mib, w.Depth, 1)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := Open(null{}, w, bufs, new(atomic.Bool), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close(); bufs.Close() })
	return l
}

func TestLoopDoesNotAllocate(t *testing.T) {
	for _, depth := range []int{1, 32} {
		w := headline[3]
		w.Depth = depth
		l := nullLoop(t, w)
		s := section(w)
		s.Length = time.Hour
		l.prepare(s, stats.NewHist())
		l.timed = true
		now := l.step(blockdev.Now())
		if n := testing.AllocsPerRun(1000, func() { now = l.step(now) }); n != 0 {
			t.Errorf("depth %d: a step allocates %v times", depth, n)
		}
		if l.bad != nil {
			t.Fatal(l.bad)
		}
	}
}

// BenchmarkLoop is what the bench itself adds to each 4 KiB write, in every
// mode alike.
func BenchmarkLoop(b *testing.B) {
	l := nullLoop(b, headline[3])
	s := section(headline[3])
	l.prepare(s, stats.NewHist())
	l.timed = true
	b.ReportAllocs()
	now := blockdev.Now()
	for b.Loop() {
		now = l.step(now)
	}
}
