package blocktest

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sealbay/blockcrypt/blockdev"
)

// liar is a Memory that breaks one promise.
type liar struct {
	blockdev.Device
	queue  func(blockdev.Queue) blockdev.Queue
	before func(*blockdev.Request)
	after  func(*blockdev.Request)
	info   func(*blockdev.Info)
}

type liarQueue struct {
	blockdev.Queue
	l *liar
}

func (l *liar) Info() blockdev.Info {
	i := l.Device.Info()
	if l.info != nil {
		l.info(&i)
	}
	return i
}

func (l *liar) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	q, err := l.Device.OpenQueue(o)
	if err != nil {
		return nil, err
	}
	q = &liarQueue{q, l}
	if l.queue != nil {
		q = l.queue(q)
	}
	return q, nil
}

func (q *liarQueue) Submit(reqs []*blockdev.Request) (int, error) {
	if q.l.before != nil {
		for _, r := range reqs {
			q.l.before(r)
		}
	}
	return q.Queue.Submit(reqs)
}

func (q *liarQueue) Reap(done []*blockdev.Request, least int) (int, error) {
	n, err := q.Queue.Reap(done, least)
	if q.l.after != nil {
		for _, r := range done[:n] {
			q.l.after(r)
		}
	}
	return n, err
}

// twice gives the first request of each batch back again.
type twice struct {
	blockdev.Queue
	again *blockdev.Request
}

func (q *twice) Reap(done []*blockdev.Request, least int) (int, error) {
	if q.again != nil && len(done) > 0 {
		done[0], q.again = q.again, nil
		return 1, nil
	}
	n, err := q.Queue.Reap(done, least)
	if n > 1 {
		q.again = done[0]
	}
	return n, err
}

// eager reaps less than it was asked to wait for; endless never is full.
type (
	eager   struct{ blockdev.Queue }
	endless struct{ blockdev.Queue }
	undead  struct{ blockdev.Queue }
)

func (q eager) Reap(done []*blockdev.Request, _ int) (int, error) {
	return q.Queue.Reap(done[:min(len(done), 1)], 0)
}

func (q endless) Submit(reqs []*blockdev.Request) (int, error) {
	if _, err := q.Queue.Submit(reqs); err != nil {
		return 0, err
	}
	return len(reqs), nil
}

func (q undead) Submit(reqs []*blockdev.Request) (int, error) {
	n, _ := q.Queue.Submit(reqs)
	return n, nil
}

// lies are by what they break: the subtest that must catch it.
var lies = map[string]*liar{
	"Info":                {info: func(i *blockdev.Info) { i.Align = 3 }},
	"RoundTrip":           {after: func(r *blockdev.Request) { spoil(r, blockdev.Read, 0) }},
	"NeighboursUntouched": {after: func(r *blockdev.Request) { spillOver(r) }},
	"Malformed": {after: func(r *blockdev.Request) {
		if op, ok := r.Err.(*blockdev.OpError); ok {
			op.Offset++
		}
	}},
	"TooLarge":           {after: func(r *blockdev.Request) { r.Err = nil }},
	"MalformedAmongGood": {after: func(r *blockdev.Request) { failAll(r) }},
	"FullQueue":          {queue: func(q blockdev.Queue) blockdev.Queue { return endless{q} }},
	"ReapMin":            {queue: func(q blockdev.Queue) blockdev.Queue { return eager{q} }},
	"OnceEach":           {queue: func(q blockdev.Queue) blockdev.Queue { return &twice{Queue: q} }},
	"Stamps":             {after: func(r *blockdev.Request) { r.Stamps.Issued = 0 }},
	"Slots":              {after: func(r *blockdev.Request) { r.Slot = 300 }},
	"Flush": {after: func(r *blockdev.Request) {
		if r.Op == blockdev.Flush {
			r.Err = blockdev.NewOpError(r, "x", blockdev.ErrNotSupported)
		}
	}},
	"ForceUnitAccess": {before: func(r *blockdev.Request) {
		if r.Flags != 0 {
			r.Op = blockdev.Flush
		}
	}},
	"Discard": {info: func(i *blockdev.Info) { i.Discard = false }},
	"WriteZeroes": {before: func(r *blockdev.Request) {
		if r.Op == blockdev.WriteZeroes {
			r.Length += int64(r.Length) // behind the end of it too
		}
	}},
	"Buffers":       {after: func(r *blockdev.Request) { spoil(r, blockdev.Write, 0) }},
	"CloseInFlight": {queue: func(q blockdev.Queue) blockdev.Queue { return undead{q} }},
}

func spoil(r *blockdev.Request, op blockdev.Op, at int) {
	if r.Op == op && r.Err == nil && len(r.Buf) > at {
		r.Buf[at] ^= 1
	}
}

func spillOver(r *blockdev.Request) {
	if r.Op == blockdev.Read && cap(r.Buf) > len(r.Buf) {
		r.Buf[:cap(r.Buf)][len(r.Buf)] ^= 1
	}
}

// failAll fails what stood beside a bad request at sector 1.
func failAll(r *blockdev.Request) {
	if r.Op == blockdev.Write && r.Err == nil && r.Offset == 512 {
		r.Err = blockdev.NewOpError(r, "memory", blockdev.ErrOutOfRange)
	}
}

const lieEnv = "SEALBAY_TEST_LIE"

// TestSuiteCatches runs the Suite on each liar in a process of its own, where
// the check of that name must fail.
func TestSuiteCatches(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(lies)) {
		c := exec.Command(os.Args[0], "-test.run=^TestLiar$/^Suite$/^"+name+"$", "-test.timeout=60s")
		c.Env = append(os.Environ(), lieEnv+"="+name)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: TestLiar/Suite/"+name+" ") {
			t.Errorf("%s does not catch the lie: %v\n%s", name, err, out)
		}
	}
}

// TestLiar is what TestSuiteCatches runs.
func TestLiar(t *testing.T) {
	l := lies[os.Getenv(lieEnv)]
	if l == nil {
		return
	}
	t.Run("Suite", func(t *testing.T) {
		Suite(t, func(*testing.T) blockdev.Device {
			l.Device = New(SuiteSize, Options{})
			return l
		})
	})
}
