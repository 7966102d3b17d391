package workload

import (
	"fmt"
	"math/rand/v2"

	"sealbay/blockcrypt/blockdev"
)

// Verify checks, after the clock has stopped, that the device holds what the
// section just run wrote, or gave what it should have read: every unit of the
// blocks still in the read buffers, and of up to samples blocks that are read
// again through the same queue. It flushes the device first.
func (l *Loop) Verify(samples int, rng *rand.Rand) error {
	s := &l.section
	if err := l.one(blockdev.Flush, 0, nil); err != nil {
		return err
	}
	if s.Work.ReadsData() {
		if err := l.verifyHeld(); err != nil {
			return err
		}
	}
	issued := l.next
	first := min(issued, l.order.blocks) // operations of the first pass
	for range samples {
		if err := l.verifyOp(rng.Uint64N(first), issued); err != nil {
			return err
		}
	}
	return nil
}

// verifyHeld checks what the last reads left in their buffers.
func (l *Loop) verifyHeld() error {
	s := &l.section
	size := s.Work.BlockSize
	for place, op := range l.ops {
		if op == none {
			continue
		}
		offset := int64(l.order.at(op)) * int64(size)
		if err := l.verifyBlock(l.bufs.read[place*size:][:size], offset, 0); err != nil {
			return err
		}
	}
	return nil
}

// verifyOp reads the block of operation i of the first pass and checks it.
func (l *Loop) verifyOp(i, issued uint64) error {
	s := &l.section
	offset := int64(l.order.at(i)) * int64(s.Work.BlockSize)
	buf := l.bufs.read[:s.Work.BlockSize]
	clear(buf)
	if err := l.one(blockdev.Read, s.Base+offset, buf); err != nil {
		return err
	}
	return l.verifyBlock(buf, offset, l.order.last(i, issued))
}

// verifyBlock checks every unit of a block; op is the operation that wrote it
// last, if this section writes.
func (l *Loop) verifyBlock(block []byte, offset int64, op uint64) error {
	s := &l.section
	tag := s.Tag
	for u := 0; u < len(block); u += s.Unit {
		unit, at := block[u:][:s.Unit], offset+int64(u)
		if s.Work.ReadsData() {
			tag, op = s.Source, uint64(at/fillBlock)
		}
		if !stampOK(unit, s.Run, at, op, tag) || !bodyOK(unit, l.bufs.pristine) {
			return l.mismatch(unit, at, op, tag)
		}
	}
	return nil
}

// one does a single untimed request.
func (l *Loop) one(op blockdev.Op, offset int64, buf []byte) error {
	r := &l.reqs[0]
	*r = blockdev.Request{Op: op, Offset: offset, Buf: buf}
	l.batch = append(l.batch[:0], r)
	if n, err := l.queue.Submit(l.batch); err != nil || n != 1 {
		return fmt.Errorf("%s at %d: queue took %d of 1 requests: %w", op, offset, n, err)
	}
	if n, err := l.queue.Reap(l.done, 1); err != nil || n != 1 {
		return fmt.Errorf("%s at %d: queue gave back %d of 1 requests: %w", op, offset, n, err)
	}
	return r.Err
}
