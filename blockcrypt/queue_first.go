package blockcrypt

import (
	"errors"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/xts"
)

// firstQueue is the simplest encrypting stage: each request is carried out
// before the next is looked at. It stands in for the queue of queue.go.
type firstQueue struct {
	under blockdev.Queue
	c     *xts.Cipher
	g     geometry
	arena *blockdev.Arena
	buf   []byte
	depth int
	done  []*blockdev.Request
	one   [1]*blockdev.Request
	req   blockdev.Request
}

func newQueue(under blockdev.Queue, c *xts.Cipher, g geometry, o blockdev.QueueOptions) (blockdev.Queue, error) {
	arena, err := blockdev.NewArena(max(o.MaxTransfer, blockdev.DefaultMaxTransfer))
	if err != nil {
		return nil, err
	}
	return &firstQueue{under: under, c: c, g: g, arena: arena, buf: arena.Bytes(), depth: max(o.Depth, 1)}, nil
}

func (q *firstQueue) Depth() int { return q.depth }

func (q *firstQueue) Submit(reqs []*blockdev.Request) (int, error) {
	if q.arena == nil {
		return 0, blockdev.ErrClosed
	}
	n := min(len(reqs), q.depth-len(q.done))
	for _, r := range reqs[:n] {
		r.Stamps = blockdev.Stamps{Submitted: blockdev.Now()}
		r.Err = q.run(r)
		q.done = append(q.done, r)
	}
	return n, nil
}

func (q *firstQueue) Reap(done []*blockdev.Request, _ int) (int, error) {
	n := copy(done, q.done)
	q.done = append(q.done[:0], q.done[n:]...)
	return n, nil
}

func (q *firstQueue) run(r *blockdev.Request) error {
	if err := blockdev.Check(r, &q.g.info); err != nil {
		return err
	}
	n := r.Span()
	if (r.Op == blockdev.Read || r.Op == blockdev.Write) && n > int64(len(q.buf)) {
		return blockdev.NewOpError(r, q.g.path, blockdev.ErrTooLarge)
	}
	iv := uint64(r.Offset) / 512
	switch r.Op {
	case blockdev.Discard:
		return blockdev.NewOpError(r, q.g.path, blockdev.ErrNotSupported)
	case blockdev.Flush:
		return q.pass(blockdev.Request{Op: blockdev.Flush})
	case blockdev.Read:
		if err := q.pass(blockdev.Request{Op: blockdev.Read, Offset: r.Offset + q.g.offset, Buf: q.buf[:n]}); err != nil {
			return err
		}
		q.c.Decrypt(r.Buf, q.buf[:n], iv)
		return nil
	case blockdev.Write:
		q.c.Encrypt(q.buf[:n], r.Buf, iv)
		return q.pass(blockdev.Request{Op: blockdev.Write, Flags: r.Flags, Offset: r.Offset + q.g.offset, Buf: q.buf[:n]})
	}
	return q.zeroes(r)
}

func (q *firstQueue) zeroes(r *blockdev.Request) error {
	zeros := make([]byte, min(r.Length, int64(len(q.buf))))
	for off := int64(0); off < r.Length; off += int64(len(zeros)) {
		zeros = zeros[:min(int64(len(zeros)), r.Length-off)]
		if err := q.run(&blockdev.Request{Op: blockdev.Write, Flags: r.Flags, Offset: r.Offset + off, Buf: zeros}); err != nil {
			return err
		}
	}
	return nil
}

func (q *firstQueue) pass(r blockdev.Request) error {
	q.req, q.one[0] = r, &q.req
	if _, err := q.under.Submit(q.one[:]); err != nil {
		return err
	}
	if _, err := q.under.Reap(q.one[:], 1); err != nil {
		return err
	}
	return q.req.Err
}

func (q *firstQueue) Close() error {
	if q.arena == nil {
		return nil
	}
	err := errors.Join(q.under.Close(), q.arena.Close())
	q.arena = nil
	return err
}
