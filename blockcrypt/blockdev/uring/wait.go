package uring

import (
	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// A thread that sleeps until its drive has answered must be woken, often by
// another processor, and where those are halted when idle, as on guests, that
// takes longer than a fast drive: 4 KiB from a loop device over memory came
// after 36 us instead of 16. So a queue looks for the answer for a while before
// it sleeps.

// pollTime is how long a queue looks for completions; ns.
const pollTime = 50_000

// pollBytes is the most data in flight at which a queue looks. With more, the
// drive is at work anyhow when one request is done: 128 KiB, four in flight,
// came no sooner for three times the CPU.
const pollBytes = 32 << 10

// maxPause is the most waits without a look after looks in vain.
const maxPause = 1023

// patience decides which waits start with a look. Each look in vain doubles
// the pause until the next, each that finds what it waits for halves it: where
// a drive is slower than pollTime, or others want the processor, a queue looks
// once in a thousand waits.
type patience struct{ pause, left uint16 }

func (p *patience) looks() bool {
	if p.left > 0 {
		p.left--
		return false
	}
	return true
}

func (p *patience) learn(found bool) {
	if found {
		p.pause /= 2
	} else {
		p.pause = min(2*p.pause+1, maxPause)
	}
	p.left = p.pause
}

// weight is what r counts for in the data in flight: an operation other than
// a read or a write takes a drive long.
func weight(r *blockdev.Request) int64 {
	if r.Op > blockdev.Write {
		return pollBytes + 1
	}
	return int64(len(r.Buf))
}

// wait enters the kernel until there are least completions in the ring, having
// looked for them first where that is worth it.
func (q *queue) wait(least uint32) error {
	if least == 0 || q.weight > pollBytes || q.ring.flags&setupIOPoll != 0 || !q.patience.looks() {
		return q.ring.enter(least, q.short || least == 0)
	}
	found, err := q.ring.poll(least, q.since+q.look)
	if err != nil {
		return err
	}
	q.patience.learn(found)
	if found {
		return nil
	}
	return q.ring.enter(least, q.short)
}

// poll hands pending submissions over and looks for least completions in the
// ring until the time end. Between looks it offers the processor to
// others: the kernel may have put who carries the request out on this very
// one.
func (r *ring) poll(least uint32, end int64) (found bool, err error) {
	if err := r.enter(0, true); err != nil {
		return false, err
	}
	for {
		switch {
		case r.ready() >= least:
			return true, nil
		case r.waiting() || r.pending > 0:
			err = r.enter(0, true)
		case blockdev.Now() >= end:
			return false, nil
		default:
			r.kernel.yield()
		}
		if err != nil {
			return false, err
		}
	}
}

func (*syscalls) yield() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
