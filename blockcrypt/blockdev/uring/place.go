package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// place is one request in flight.
type place struct {
	r     *blockdev.Request // nil where the place is free
	step  step
	moved int64 // bytes done in earlier submissions
	asked int   // bytes of an NVMe command, 0 where the kernel answers the number
	tries int   // how often the kernel said "try again" in a row
}

// step is what the kernel does for a request right now.
type step uint8

const (
	theWhole step = iota // the one operation that the request is
	zeroing              // zeros written part by part, where there is no call for it
	syncing              // fdatasync behind WriteZeroes with FUA
)

// maxTransfer is the most that one submission moves; bytes. The kernel itself
// stops at 2 GiB less a page.
const maxTransfer = 1 << 30

// maxTries ends the patience with a kernel that has no memory for a request.
const maxTries = 100

// BLOCK_URING_CMD_DISCARD of linux/blkdev.h, since Linux 6.12.
const commandDiscard = 0x12 << 8

func (p *place) begin(r *blockdev.Request) { *p = place{r: r} }

// start prepares the submission for what place i still has to do.
func (q *queue) start(i uint16) {
	p := &q.places[i]
	s := q.ring.next()
	q.seq++
	s.userData = q.seq<<16 | uint64(q.o.SlotBase+i)
	s.flags = sqeFixedFile // fd 0 is the registered one
	if p.tries > 0 {
		s.flags |= sqeAsync // let a worker wait for what was not to be had at once
	}
	switch {
	case p.r.Op == blockdev.Flush || p.step == syncing:
		s.opcode, s.rwFlags = opFsync, fsyncDatasync
	case p.step == zeroing:
		zeros := q.node.Zeros()
		q.transfer(s, opWrite, opWriteFixed, zeros[:min(p.r.Length-p.moved, int64(len(zeros)))], p)
	case p.r.Op == blockdev.Read:
		q.transfer(s, opRead, opReadFixed, p.r.Buf[p.moved:], p)
	case p.r.Op == blockdev.Write:
		q.transfer(s, opWrite, opWriteFixed, p.r.Buf[p.moved:], p)
	case p.r.Op == blockdev.Discard && q.node.Block:
		s.opcode, s.off, s.addr, s.addr3 = opCommand, commandDiscard, uint64(p.r.Offset), uint64(p.r.Length)
	case p.r.Op == blockdev.Discard:
		fallocate(s, p.r, unix.FALLOC_FL_PUNCH_HOLE)
	case p.r.Op == blockdev.WriteZeroes:
		fallocate(s, p.r, unix.FALLOC_FL_ZERO_RANGE)
	}
}

// transfer moves buf by op, or by opFixed where it lies in one registered
// buffer.
func (q *queue) transfer(s *sqe, op, opFixed uint8, buf []byte, p *place) {
	if q.nvme != nil && p.step == theWhole {
		p.asked = q.nvme.command(s, p.r, buf, p.r.Offset+p.moved)
		if index, ok := q.registered(buf[:p.asked]); ok {
			s.rwFlags, s.bufIndex = commandFixed, index
		}
		return
	}
	buf = buf[:min(len(buf), maxTransfer)]
	s.opcode = op
	s.off = uint64(p.r.Offset + p.moved)
	s.addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(buf))))
	s.length = uint32(len(buf))
	if p.r.Op == blockdev.Write && p.r.Flags&blockdev.FUA != 0 {
		s.rwFlags = unix.RWF_DSYNC
	}
	if index, ok := q.registered(buf); ok {
		s.opcode, s.bufIndex = opFixed, index
	}
}

// registered returns in which registered buffer buf lies, if in one. Of
// registered memory Linux 6.12 wants every piece, and so the start within its
// page, to be whole sectors, where a drive else takes any multiple of 4 bytes.
func (q *queue) registered(buf []byte) (index uint16, ok bool) {
	if !q.fixed || !q.o.Buffers.Contains(buf) || !blockdev.Aligned(buf, q.node.Info.Sector) {
		return 0, false
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(buf))) - q.base
	first, last := at/bufferChunk, (at+uintptr(len(buf))-1)/bufferChunk
	return uint16(first), first == last
}

// fallocate of io_uring carries the length in addr and the mode in len. On a
// block device ZERO_RANGE is what BLKZEROOUT is.
func fallocate(s *sqe, r *blockdev.Request, mode uint32) {
	s.opcode, s.off, s.addr, s.length = opFallocate, uint64(r.Offset), uint64(r.Length), mode|unix.FALLOC_FL_KEEP_SIZE
}

// settle takes the kernel's answer for place i, and reports whether the
// request is finished or goes on.
func (q *queue) settle(i uint16, res int32) (finished bool) {
	p := &q.places[i]
	if p.asked > 0 && res >= 0 {
		res = p.answer(res)
	}
	if res >= 0 {
		p.tries = 0
		return q.advance(i, int64(res))
	}
	e := unix.Errno(-res)
	unknown := p.step == theWhole && notKnown(e)
	switch {
	case (e == unix.EAGAIN || e == unix.EINTR) && p.tries < maxTries:
		p.tries++
		return q.again(i)
	case unknown && p.r.Op == blockdev.WriteZeroes:
		p.step = zeroing
		return q.again(i)
	case unknown && p.r.Op == blockdev.Discard:
		// Before 6.12 a drive has no discard by io_uring. The system call
		// holds the thread as long as the drive takes.
		return q.finish(p, q.node.Discard(p.r.Offset, p.r.Length))
	}
	return q.finish(p, e)
}

// answer turns the status of an NVMe command into what the block layer would
// have said: the number of bytes, or EIO. A status is what the drive answered,
// NVM Express base specification 4.2.3; 0 is success.
func (p *place) answer(status int32) (res int32) {
	n := p.asked
	p.asked = 0
	if status != 0 {
		return -int32(unix.EIO)
	}
	return int32(n)
}

func notKnown(e unix.Errno) bool {
	return e == unix.EOPNOTSUPP || e == unix.ENOSYS || e == unix.ENOTTY || e == unix.EINVAL
}

// advance counts n bytes more, or one operation done.
func (q *queue) advance(i uint16, n int64) (finished bool) {
	p := &q.places[i]
	if p.r.Op <= blockdev.Write || p.step == zeroing {
		p.moved += n
		switch {
		case n == 0:
			return q.finish(p, blockdev.ErrShort)
		case p.moved < p.r.Span():
			return q.again(i) // a short transfer: the rest
		}
	}
	if p.r.Op == blockdev.WriteZeroes && p.r.Flags&blockdev.FUA != 0 && p.step != syncing {
		p.step = syncing
		return q.again(i)
	}
	return true
}

func (q *queue) again(i uint16) (finished bool) {
	q.start(i)
	return false
}

func (q *queue) finish(p *place, cause error) (finished bool) {
	if cause != nil {
		p.r.Err = blockdev.NewOpError(p.r, q.node.Info.Path, cause)
	}
	return true
}
