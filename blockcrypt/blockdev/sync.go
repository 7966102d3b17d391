package blockdev

import (
	"errors"
	"fmt"
)

// Sync is plain ReadAt, WriteAt and Flush over one queue of depth 1, for
// headers, tools and tests: one request at a time, copied through an aligned
// buffer. It is not for concurrent use.
//
// ReadAt and WriteAt ask offset and length to be multiples of Info.Sector;
// anything else is ErrUnaligned, nothing is read-modified-written.
type Sync struct {
	info  Info
	queue Queue
	arena *Arena
	buf   []byte
	req   Request
	done  [1]*Request
}

// NewSync opens a queue of d.
func NewSync(d Device) (*Sync, error) {
	arena, err := NewArena(DefaultMaxTransfer)
	if err != nil {
		return nil, err
	}
	q, err := d.OpenQueue(QueueOptions{Depth: 1, Buffers: arena, AnyThread: true})
	if err != nil {
		return nil, errors.Join(err, arena.Close())
	}
	return &Sync{info: d.Info(), queue: q, arena: arena, buf: arena.Cut(DefaultMaxTransfer)}, nil
}

// Info describes the device below.
func (s *Sync) Info() Info { return s.info }

// Size returns the device's size in bytes.
func (s *Sync) Size() int64 { return s.info.Size }

// ReadAt reads len(p) bytes at off, all or an error.
func (s *Sync) ReadAt(p []byte, off int64) (int, error) {
	return s.each(p, off, Read, 0)
}

// WriteAt writes p at off, all or an error; on stable storage after Flush.
func (s *Sync) WriteAt(p []byte, off int64) (int, error) {
	return s.each(p, off, Write, 0)
}

func (s *Sync) each(p []byte, off int64, op Op, flags Flags) (int, error) {
	if sector := s.info.Sector; len(p)%sector != 0 || off%int64(sector) != 0 {
		return 0, &OpError{Op: op, Path: s.info.Path, Offset: off, Length: int64(len(p)), Err: ErrUnaligned}
	}
	for n := 0; n < len(p); {
		part := s.buf[:min(len(p)-n, len(s.buf))]
		if op == Write {
			copy(part, p[n:])
		}
		if err := s.Do(Request{Op: op, Flags: flags, Offset: off + int64(n), Buf: part}); err != nil {
			return n, err
		}
		if op == Read {
			copy(p[n:], part)
		}
		n += len(part)
	}
	return len(p), nil
}

// Flush puts on stable storage what was written.
func (s *Sync) Flush() error { return s.Do(Request{Op: Flush}) }

// Do carries out one request and returns its error.
func (s *Sync) Do(r Request) error {
	s.req = r
	s.done[0] = &s.req
	if n, err := s.queue.Submit(s.done[:]); err != nil || n != 1 {
		return NewOpError(&s.req, s.info.Path, errors.Join(err, fmt.Errorf("queue took %d of 1 requests", n)))
	}
	if n, err := s.queue.Reap(s.done[:], 1); err != nil || n != 1 {
		return NewOpError(&s.req, s.info.Path, errors.Join(err, fmt.Errorf("queue gave back %d of 1 requests", n)))
	}
	return s.req.Err
}

// Close closes the queue, not the device. What was read or written is wiped
// from memory.
func (s *Sync) Close() error {
	return errors.Join(s.queue.Close(), s.arena.Close())
}
