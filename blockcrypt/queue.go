package blockcrypt

import (
	"errors"
	"fmt"

	"sealbay/blockcrypt/blockdev"
)

// transform turns plaintext into what is stored and back. dst and src are
// whole sectors, equally long, and do not overlap or are the same; iv counts
// units of 512 bytes from the start of the data (the rule of plain64).
// *xts.Cipher is one, and so is copier.
type transform interface {
	Encrypt(dst, src []byte, iv uint64)
	Decrypt(dst, src []byte, iv uint64)
}

// geometry says where the data of a volume lies on its device.
type geometry struct {
	info   blockdev.Info // of the volume, as its users see it
	offset int64         // bytes; where its first sector lies on the device
}

// queue is the encrypting stage between a caller and a device queue of the
// same depth. Each request in flight holds a place with a buffer of its own,
// aligned and registered with the engine: a write is encrypted from the
// caller's memory into it, a read is decrypted out of it. The buffers never
// hold plaintext, and the caller's memory is never written by a write.
type queue struct {
	under  blockdev.Queue
	arena  *blockdev.Arena
	cipher transform
	g      geometry
	o      blockdev.QueueOptions

	places  []place
	free    []*place
	issue   []*blockdev.Request // prepared, not yet taken by the device queue
	below   []*blockdev.Request // room for what the device queue gives back
	issued  int                 // taken by the device queue and not given back
	ready   []*place            // answered, not yet reaped
	pending int                 // bytes through the cipher since the last hand-over
	chunk   int                 // most completions to take at once, at least 1
	closed  bool
}

// stride is how many bytes are encrypted before the device is given what is
// ready, and decrypted before the caller is: the device works on the first
// while the next are in the cipher. Smaller requests go in one batch.
const stride = 128 << 10

// newQueue opens a queue of d and puts the encrypting stage on top.
func newQueue(d blockdev.Device, c transform, g geometry, o blockdev.QueueOptions) (blockdev.Queue, error) {
	o, err := o.Defaults()
	if err != nil {
		return nil, fmt.Errorf("opening a queue of %s: %w", g.info.Path, err)
	}
	buf := roundUp(o.MaxTransfer, max(g.info.Sector, blockdev.PageSize))
	arena, err := blockdev.NewArena(buf * o.Depth)
	if err != nil {
		return nil, fmt.Errorf("opening a queue of %s: %w", g.info.Path, err)
	}
	under, err := d.OpenQueue(blockdev.QueueOptions{
		Depth: o.Depth, Buffers: arena, MaxTransfer: buf, SlotBase: o.SlotBase, AnyThread: o.AnyThread, Stacked: true,
	})
	if err != nil {
		return nil, errors.Join(err, arena.Close())
	}
	q := &queue{under: under, arena: arena, cipher: c, g: g, o: o}
	q.chunk = min(max(stride/o.MaxTransfer, 1), o.Depth)
	q.makePlaces(buf)
	return q, nil
}

func (q *queue) makePlaces(buf int) {
	q.places = make([]place, q.o.Depth)
	q.free = make([]*place, 0, q.o.Depth)
	q.ready = make([]*place, 0, q.o.Depth)
	q.issue = make([]*blockdev.Request, 0, q.o.Depth)
	q.below = make([]*blockdev.Request, q.o.Depth)
	for i := range q.places {
		p := &q.places[i]
		p.buf = q.arena.Cut(buf)
		p.under.Tag = uint64(i)
		q.free = append(q.free, p)
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// Depth returns the most requests in flight.
func (q *queue) Depth() int { return q.o.Depth }

// Threads returns those of the device queue (blockdev.Threaded).
func (q *queue) Threads() []int {
	if t, ok := q.under.(blockdev.Threaded); ok {
		return t.Threads()
	}
	return nil
}

// Submit encrypts and hands on.
func (q *queue) Submit(reqs []*blockdev.Request) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	n := min(len(reqs), len(q.free))
	q.pending = 0
	now := blockdev.Now() // for all: waiting for neighbours to be encrypted is encryption's time
	for i, r := range reqs[:n] {
		p := q.take(r, now)
		if err := q.accept(r); err != nil {
			q.answer(p, err)
			continue
		}
		q.prepare(p)
		if q.pending >= stride && i < n-1 {
			q.pending = 0
			q.send()
			if err := q.kick(); err != nil {
				return i + 1, nil // Reap meets the error again
			}
		}
	}
	q.send()
	return n, nil
}

// kick lets the device start on what it was given, should its engine wait for
// more. It takes nothing back.
func (q *queue) kick() error {
	_, err := q.under.Reap(nil, 0)
	return err
}

func (q *queue) take(r *blockdev.Request, now int64) *place {
	last := len(q.free) - 1
	p := q.free[last]
	q.free = q.free[:last]
	r.Err = nil
	r.Stamps = blockdev.Stamps{Submitted: now}
	p.outer, p.done = r, 0
	return p
}

// accept returns nil or the error of a request that goes no further.
func (q *queue) accept(r *blockdev.Request) error {
	if err := q.o.Check(r, &q.g.info); err != nil {
		return err
	}
	if r.Op == blockdev.Discard && !q.g.info.Discard {
		return blockdev.NewOpError(r, q.g.info.Path, blockdev.ErrNotSupported)
	}
	return nil
}

// send gives the device queue what is prepared. It has a place for each of
// ours, so it takes all, unless it can take nothing any more.
func (q *queue) send() {
	for len(q.issue) > 0 {
		n, err := q.under.Submit(q.issue)
		q.issued += n
		rest := copy(q.issue, q.issue[n:])
		q.issue = q.issue[:rest]
		if err == nil && n == 0 {
			return // full below: Reap tries again
		}
		if err != nil {
			q.giveUp(err)
		}
	}
}

// giveUp answers everything that the device queue refused to take.
func (q *queue) giveUp(err error) {
	for _, r := range q.issue {
		p := &q.places[r.Tag]
		q.answer(p, blockdev.NewOpError(p.outer, q.g.info.Path, err))
	}
	q.issue = q.issue[:0]
}

// answer moves p to what can be reaped.
func (q *queue) answer(p *place, err error) {
	p.outer.Err = err
	stamp := &p.outer.Stamps
	if stamp.Issued == 0 {
		stamp.Issued = blockdev.Now()
	}
	if stamp.Completed == 0 {
		stamp.Completed = blockdev.Now()
	}
	q.ready = append(q.ready, p)
}

// Reap collects from the device queue and decrypts.
func (q *queue) Reap(done []*blockdev.Request, least int) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	least = min(least, len(done), q.o.Depth-len(q.free))
	q.send()
	q.pending = 0
	for {
		room := max(len(done)-len(q.ready), 0)
		n, err := q.collect(min(room, q.chunk), least-len(q.ready))
		if err != nil {
			return q.hand(done), err
		}
		more := n == q.chunk && n < room && q.pending < stride
		if len(q.ready) >= least && !more {
			return q.hand(done), nil
		}
	}
}

// collect takes up to most completions from below, waiting for least of them,
// and hands over what was submitted. A long WriteZeroes completes in many
// parts, so fewer may become ready.
func (q *queue) collect(most, least int) (int, error) {
	if q.issued == 0 {
		return 0, nil
	}
	n, err := q.under.Reap(q.below[:most], max(least, 0))
	q.issued -= n
	for _, r := range q.below[:n] {
		q.complete(&q.places[r.Tag])
	}
	if len(q.issue) > 0 && err == nil {
		q.send()
		err = q.kick()
	}
	return n, err
}

// hand gives what is ready to the caller and its places back. A single
// request was stamped just before; more have waited for each other.
func (q *queue) hand(done []*blockdev.Request) int {
	n := min(len(done), len(q.ready))
	if n == 0 {
		return 0
	}
	stamps := &q.ready[0].outer.Stamps
	now := max(stamps.Completed, stamps.Decrypted)
	if n > 1 {
		now = blockdev.Now()
	}
	for i, p := range q.ready[:n] {
		p.outer.Stamps.Reaped = now
		done[i], p.outer = p.outer, nil
		q.free = append(q.free, p)
	}
	rest := copy(q.ready, q.ready[n:])
	q.ready = q.ready[:rest]
	return n
}

// Close closes the device queue, which waits for the kernel, and wipes the
// buffers. What was not reaped fails with ErrClosed.
func (q *queue) Close() error {
	if q.closed {
		return nil
	}
	q.closed = true
	err := q.under.Close()
	for i := range q.places {
		if r := q.places[i].outer; r != nil && r.Err == nil {
			r.Err = blockdev.NewOpError(r, q.g.info.Path, blockdev.ErrClosed)
		}
	}
	return errors.Join(err, q.arena.Close())
}
