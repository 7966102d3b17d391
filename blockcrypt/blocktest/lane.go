package blocktest

import (
	"errors"
	"runtime"
	"testing"

	"sealbay/blockcrypt/blockdev"
)

// laneBuffers is how many blocks of memory a lane has at least.
const laneBuffers = 8

// lane is a queue with memory for its requests, used by the goroutine that
// opened it, which is locked to its thread.
type lane struct {
	t     testing.TB
	d     blockdev.Device
	q     blockdev.Queue
	arena *blockdev.Arena
	bufs  [][]byte // a block each
}

func openLane(t testing.TB, d blockdev.Device, depth int) *lane {
	t.Helper()
	runtime.LockOSThread()
	n := max(depth, laneBuffers)
	arena, err := blockdev.NewArena(n * block)
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{t: t, d: d, arena: arena}
	for range n {
		l.bufs = append(l.bufs, arena.Cut(block))
	}
	if l.q, err = d.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: arena}); err != nil {
		t.Fatal(err)
	}
	return l
}

// buf returns buffer i, filled with b.
func (l *lane) buf(i int, b byte) []byte {
	for j := range l.bufs[i] {
		l.bufs[i][j] = b
	}
	return l.bufs[i]
}

// do has all of reqs in flight at once and waits for them.
func (l *lane) do(reqs []*blockdev.Request) {
	l.t.Helper()
	if n, err := l.q.Submit(reqs); n != len(reqs) || err != nil {
		l.t.Fatalf("submitted %d of %d: %v", n, len(reqs), err)
	}
	done := make([]*blockdev.Request, len(reqs))
	if n, err := l.q.Reap(done, len(reqs)); n != len(reqs) || err != nil {
		l.t.Fatalf("reaped %d of %d: %v", n, len(reqs), err)
	}
}

// close closes the queue and the device.
func (l *lane) close() {
	l.t.Helper()
	if err := errors.Join(l.q.Close(), l.d.Close(), l.arena.Close()); err != nil {
		l.t.Error(err)
	}
	runtime.UnlockOSThread()
}
