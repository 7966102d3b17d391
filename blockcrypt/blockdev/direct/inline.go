package direct

import (
	"runtime"

	"golang.org/x/sys/unix"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/internal/osdev"
)

// inline is a queue of depth 1: Submit makes the system call.
type inline struct {
	node   *osdev.Node
	o      blockdev.QueueOptions
	held   *blockdev.Request // complete, not yet reaped
	turn   int64             // when the goroutine last gave way; see Stamps
	closed bool
}

// turnEvery is how often the goroutine gives way to others, in nanoseconds.
// After 10 ms without, Go's monitor takes the processor slot away in each
// single system call and wakes another thread for it: 4 KiB reads of 70 us
// then cost 48 us of CPU instead of 31.
const turnEvery = 5_000_000

func newInline(n *osdev.Node, o blockdev.QueueOptions) *inline {
	return &inline{node: n, o: o}
}

func (q *inline) Depth() int { return 1 }

// Threads returns the calling thread: it makes the system calls.
func (q *inline) Threads() []int { return []int{unix.Gettid()} }

func (q *inline) Submit(reqs []*blockdev.Request) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	if len(reqs) == 0 || q.held != nil {
		return 0, nil
	}
	r := reqs[0]
	q.held = r
	now := blockdev.Now()
	if now-q.turn > turnEvery {
		q.turn = now
		runtime.Gosched()
		now = blockdev.Now()
	}
	r.Stamps = blockdev.Stamps{Submitted: now, Issued: now}
	r.Slot = q.o.SlotBase
	run(q.node, &q.o, r)
	return 1, nil
}

func (q *inline) Reap(done []*blockdev.Request, _ int) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	if len(done) == 0 || q.held == nil {
		return 0, nil
	}
	done[0], q.held = q.held, nil
	done[0].Stamps.Reaped = blockdev.Now()
	return 1, nil
}

func (q *inline) Close() error {
	q.held, q.closed = nil, true
	return nil
}

// run checks r, makes its system call and leaves the result in it.
func run(n *osdev.Node, o *blockdev.QueueOptions, r *blockdev.Request) {
	r.Err = nil
	if err := o.Check(r, &n.Info); err != nil {
		r.Err = err
	} else if err := n.Run(r); err != nil {
		r.Err = blockdev.NewOpError(r, n.Info.Path, err)
	}
	r.Stamps.Completed = blockdev.Now()
}
