package uring

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/internal/osdev"
)

// queue is a Queue over one ring.
type queue struct {
	node   *osdev.Node
	nvme   *namespace // nil: through the block layer
	o      blockdev.QueueOptions
	ring   *ring
	places []place
	free   []uint16 // indices of places
	ready  []uint16 // answered without the kernel, not yet reaped
	fresh  []uint16 // submitted, not yet handed to the kernel
	fixed  bool     // o.Buffers is registered
	base   uintptr  // where o.Buffers starts
	seq    uint64
	weight int64 // of all in flight; see weight
	since  int64 // when the kernel was last entered to wait; see Stamps
	short  bool  // the last wait was short, so the next will be
	look   int64 // pollTime, but in tests
	patience
	broken error // what the ring failed with for good
	closed bool
}

// shortWait is the longest wait that the Go runtime need not know of; ns.
const shortWait = 200_000

// bufferChunk is the most memory that one registered buffer may hold; bytes
// (io_uring_register(2)). A larger arena takes several.
const bufferChunk = 1 << 30

func newQueue(d *device, o blockdev.QueueOptions) (*queue, error) {
	r, err := newRing(uint32(o.Depth), d.setup())
	if err != nil {
		return nil, err
	}
	q := &queue{node: d.node, nvme: d.nvme, o: o, ring: r, look: pollTime}
	if err := q.registerFile(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if err := q.registerBuffers(); err != nil {
		d.o.Log.Warn("I/O buffers are not registered with io_uring: each request pins its pages", "device", d.node.Info.Path, "reason", err)
	}
	q.makePlaces()
	return q, nil
}

// setup returns the flags of a ring that does what the device was opened for.
func (d *device) setup() (flags uint32) {
	if d.nvme != nil {
		flags |= setupSQE128 | setupCQE32
	}
	if d.o.Poll {
		flags |= setupIOPoll
	}
	return flags
}

func (q *queue) registerFile() error {
	fds, n := [2]int32{int32(q.node.FD)}, 1
	if q.nvme != nil {
		fds[1], n = int32(q.nvme.file.Fd()), 2
	}
	if err := q.ring.register(registerFiles, unsafe.Pointer(&fds), n); err != nil {
		return fmt.Errorf("registering the file: %w", err)
	}
	return nil
}

func (q *queue) registerBuffers() error {
	if q.o.Buffers == nil {
		return nil
	}
	mem := q.o.Buffers.Bytes()
	var iov []unix.Iovec
	for off := 0; off < len(mem); off += bufferChunk {
		iov = append(iov, unix.Iovec{Base: &mem[off], Len: uint64(min(bufferChunk, len(mem)-off))})
	}
	if err := q.ring.register(registerBuffers, unsafe.Pointer(&iov[0]), len(iov)); err != nil {
		return err
	}
	q.fixed, q.base = true, uintptr(unsafe.Pointer(&mem[0]))
	return nil
}

func (q *queue) makePlaces() {
	q.places = make([]place, q.o.Depth)
	q.free = make([]uint16, q.o.Depth)
	q.ready, q.fresh = make([]uint16, 0, q.o.Depth), make([]uint16, 0, q.o.Depth)
	for i := range q.free {
		q.free[i] = uint16(q.o.Depth - 1 - i) // taken from the end: low slots first
	}
}

func (q *queue) Depth() int { return q.o.Depth }

func (q *queue) Submit(reqs []*blockdev.Request) (int, error) {
	if err := q.fit(); err != nil {
		return 0, err
	}
	n := min(len(reqs), len(q.free))
	if n == 0 {
		return 0, nil
	}
	now := int64(0)
	if !q.o.Stacked {
		now = blockdev.Now()
	}
	for _, r := range reqs[:n] {
		last := len(q.free) - 1
		i := q.free[last]
		q.free = q.free[:last]
		r.Stamps = blockdev.Stamps{Submitted: now}
		r.Slot = q.o.SlotBase + i
		r.Err = q.o.Check(r, &q.node.Info)
		q.places[i].begin(r)
		q.weight += weight(r)
		if r.Err != nil || q.here(r) {
			r.Stamps.Completed = blockdev.Now()
			if r.Stamps.Issued == 0 {
				r.Stamps.Issued = r.Stamps.Completed
			}
			q.ready = append(q.ready, i)
			continue
		}
		q.start(i)
		q.fresh = append(q.fresh, i)
	}
	return n, nil
}

// here carries r out on this thread if the ring does not take its kind: one
// that polls has only reads and writes.
func (q *queue) here(r *blockdev.Request) bool {
	if q.ring.flags&setupIOPoll == 0 || r.Op <= blockdev.Write {
		return false
	}
	r.Stamps.Issued = blockdev.Now()
	if err := q.node.Run(r); err != nil {
		r.Err = blockdev.NewOpError(r, q.node.Info.Path, err)
	}
	return true
}

// fit returns why the queue can take nothing any more.
func (q *queue) fit() error {
	if q.closed {
		return blockdev.ErrClosed
	}
	return q.broken
}

func (q *queue) Reap(done []*blockdev.Request, least int) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	least = min(least, len(done), q.o.Depth-len(q.free))
	n := 0
	for {
		later, err := q.exchange(least - n)
		if err != nil {
			return n, err
		}
		n += q.collect(done[n:])
		if n >= least && (later || q.ring.pending == 0) {
			return n, nil
		}
	}
}

// exchange enters the kernel, unless there is nothing to hand over, enough is
// ready and nothing waits there. later says that the kernel wants what is
// pending another time.
func (q *queue) exchange(least int) (later bool, err error) {
	if q.broken != nil {
		return false, nil // all is answered
	}
	wait := max(least-len(q.ready), 0) // for so many in the ring, counting those that are there
	if wait <= int(q.ring.ready()) {
		wait = 0
	}
	if q.ring.pending == 0 && wait == 0 && !q.ring.waiting() {
		return false, nil
	}
	q.since = blockdev.Now()
	q.stampIssued()
	switch err := q.wait(uint32(wait)); err {
	case nil:
	case unix.EINTR, unix.EAGAIN, unix.EBUSY:
		// A signal, no memory for a request just now, or completions to be
		// reaped first: what was not taken is still pending.
		q.short = false
		return true, nil
	case unix.EEXIST:
		return false, errors.New("io_uring: the queue is used from another thread: its goroutine must be locked to the one that opened it")
	default:
		q.fail(fmt.Errorf("io_uring_enter: %w", err))
	}
	return false, nil
}

func (q *queue) stampIssued() {
	for _, i := range q.fresh {
		q.places[i].r.Stamps.Issued = q.since
	}
	q.fresh = q.fresh[:0]
}

// fail answers everything in flight: the ring is lost.
func (q *queue) fail(err error) {
	q.broken = err
	q.ring.pending = 0
	now := blockdev.Now()
	for i := range q.places {
		if p := &q.places[i]; p.r != nil && !q.isReady(uint16(i)) {
			p.r.Stamps.Completed = now
			p.r.Err = blockdev.NewOpError(p.r, q.node.Info.Path, err)
			q.ready = append(q.ready, uint16(i))
		}
	}
}

func (q *queue) isReady(i uint16) bool {
	for _, other := range q.ready {
		if other == i {
			return true
		}
	}
	return false
}

// collect moves what is complete into done. All that one call finds gets one
// time: it was seen at once.
func (q *queue) collect(done []*blockdev.Request) (n int) {
	if len(done) == 0 || len(q.ready) == 0 && q.ring.ready() == 0 {
		return 0
	}
	now := blockdev.Now()
	q.short = now-q.since < shortWait
	for ; n < len(done) && len(q.ready) > 0; n++ {
		last := len(q.ready) - 1
		done[n] = q.release(q.ready[last], now)
		q.ready = q.ready[:last]
	}
	for n < len(done) && q.ring.ready() > 0 {
		c := q.ring.take()
		i := uint16(c.userData) - q.o.SlotBase
		if q.broken != nil || !q.settle(i, c.res) {
			continue
		}
		q.places[i].r.Stamps.Completed = now
		done[n] = q.release(i, now)
		n++
	}
	return n
}

func (q *queue) release(i uint16, now int64) *blockdev.Request {
	r := q.places[i].r
	r.Stamps.Reaped = now
	q.weight -= weight(r)
	q.places[i].r = nil
	q.free = append(q.free, i)
	return r
}

// Close waits for the kernel to be done with every buffer and releases the
// ring.
func (q *queue) Close() error {
	if q.closed {
		return nil
	}
	done := make([]*blockdev.Request, q.o.Depth)
	for q.broken == nil && len(q.free) < q.o.Depth {
		if _, err := q.Reap(done, q.o.Depth); err != nil {
			q.closed = true
			return errors.Join(err, q.ring.close())
		}
	}
	q.closed = true
	return q.ring.close()
}
