package blocktest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// Faults lets each single operation that reaches m fail, in the ways that
// drives do, and looks through the device that over puts on it that this
// fails the request that met it, named, and no other; that the queue serves
// on; and that what succeeded is on the drive: with one request at a time, and
// with several in flight. It closes each device, works on copies of m, and
// needs place for 32 blocks of 4096 bytes.
//
// A failed flush may fail any request that wants stable storage: a device may
// flush once for several. A transfer that is short without an error is gone on
// with and not to be seen, but where the kernel makes EIO of a short write: a
// loop device does, and FUSE of what it was not to wait for.
func Faults(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device) {
	for _, depth := range []int{1, 8} {
		for _, e := range []unix.Errno{unix.EIO, unix.ENOSPC} {
			t.Run(fmt.Sprintf("depth %d/%v", depth, e), func(t *testing.T) {
				eachOperation(t, m, over, depth, func(*blockdev.Request) Fault { return Fault{Err: e} })
			})
		}
		// Torn: half of it arrives, and an error.
		t.Run(fmt.Sprintf("depth %d/torn", depth), func(t *testing.T) {
			eachOperation(t, m, over, depth, func(r *blockdev.Request) Fault { return Fault{unix.EIO, r.Span() / 2 &^ 511} })
		})
		for _, sectors := range []int64{1, 7} {
			t.Run(fmt.Sprintf("depth %d/%d sectors only", depth, sectors), func(t *testing.T) {
				eachOperation(t, m, over, depth, func(r *blockdev.Request) Fault { return short(r, sectors*512) })
			})
		}
		t.Run(fmt.Sprintf("depth %d/pulled", depth), func(t *testing.T) { pulled(t, m.Crash(KeepAll), over, depth) })
	}
}

func short(r *blockdev.Request, moved int64) Fault {
	if r.Op > blockdev.Write {
		return Fault{}
	}
	return Fault{blockdev.ErrShort, moved}
}

// eachOperation runs the same requests again and again, with another
// operation failing each time, until none is left.
func eachOperation(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device, depth int, fault func(*blockdev.Request) Fault) {
	m = patterned(t, m, over)
	for n := 0; ; n++ {
		hit := faultAt(t, m.Crash(KeepAll), over, depth, n, fault)
		if !hit && n < laneBuffers-1 { // a read may be saved, a request split
			t.Errorf("%d operations reached the drive", n)
		}
		if !hit || t.Failed() {
			return
		}
	}
}

// faultAt reports whether there was an n-th operation to fail.
func faultAt(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device, depth, n int, fault func(*blockdev.Request) Fault) bool {
	t.Helper()
	l := openLane(t, over(t, m), depth)
	defer l.close()
	var hit *blockdev.Request
	var f Fault
	m.Fail(func(i int, r *blockdev.Request) Fault {
		if i != n {
			return Fault{}
		}
		seen := *r
		hit, f = &seen, fault(r)
		return f
	})
	reqs := l.mixed()
	for at := 0; at < len(reqs); at += depth {
		l.do(reqs[at:min(at+depth, len(reqs))])
	}
	m.Fail(nil)
	l.judge(reqs, hit, f)
	if t.Failed() {
		t.Logf("operation %d was to fail with %v", n, f)
	}
	return hit != nil
}

// old and fresh are what fills blocks before and after a write.
const old, fresh = 0xA1, 0xB2

// patterned returns m with old in every block, as the device stores it.
func patterned(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device) *Memory {
	t.Helper()
	m = m.Crash(KeepAll)
	l := openLane(t, over(t, m), 1)
	defer l.close()
	for i := range int64(blocks) {
		l.must(&blockdev.Request{Op: blockdev.Write, Offset: i * block, Buf: l.buf(0, old)})
	}
	l.must(&blockdev.Request{Op: blockdev.Flush})
	return m.Crash(KeepAll)
}

func (l *lane) must(r *blockdev.Request) {
	l.t.Helper()
	if l.do([]*blockdev.Request{r}); r.Err != nil {
		l.t.Fatal(r.Err)
	}
}

// mixed returns requests of every kind but Discard, each for every other
// block.
func (l *lane) mixed() (reqs []*blockdev.Request) {
	for i, r := range []blockdev.Request{
		{Op: blockdev.Write}, {Op: blockdev.Write, Flags: blockdev.FUA}, {Op: blockdev.Read}, {Op: blockdev.Flush},
		{Op: blockdev.WriteZeroes}, {Op: blockdev.WriteZeroes, Flags: blockdev.FUA}, {Op: blockdev.Read}, {Op: blockdev.Write},
	} {
		r.Offset = int64(2*i+1) * block
		switch r.Op {
		case blockdev.Read, blockdev.Write:
			r.Buf = l.buf(i, fresh)
		case blockdev.WriteZeroes:
			r.Length = block
		}
		reqs = append(reqs, &r)
	}
	return reqs
}

// judge holds what became of reqs against the one fault that was met.
func (l *lane) judge(reqs []*blockdev.Request, hit *blockdev.Request, f Fault) {
	l.t.Helper()
	failed := 0
	for _, r := range reqs {
		if r.Err == nil {
			continue
		}
		failed++
		if !met(r, hit) || f.short() && r.Op == blockdev.Read {
			l.t.Errorf("unexpected: %v", r.Err)
		}
		op := new(blockdev.OpError)
		if !errors.As(r.Err, &op) || op.Op != r.Op || op.Offset != r.Offset || op.Length != r.Span() || op.Path != l.d.Info().Path {
			l.t.Errorf("%v at %d+%d says %v", r.Op, r.Offset, r.Span(), r.Err)
		}
		if !errors.Is(r.Err, unix.EIO) && (f.short() || !errors.Is(r.Err, f.Err)) { // a block device says EIO of every flush
			l.t.Errorf("%v, want %v or %v", r.Err, f.Err, unix.EIO)
		}
	}
	if f.Err != nil && !f.short() && failed == 0 {
		l.t.Errorf("%v of %v at %d was swallowed", f.Err, hit.Op, hit.Offset)
	}
	for _, r := range reqs {
		if r.Op == blockdev.Read && r.Err == nil && !filled(r.Buf, old) {
			l.t.Errorf("a read at %d gave what was never there", r.Offset)
		}
	}
	l.compare(reqs)
}

func (f Fault) short() bool { return errors.Is(f.Err, blockdev.ErrShort) }

// met reports whether hit may have been for r.
func met(r, hit *blockdev.Request) bool {
	switch {
	case hit == nil:
		return false
	case hit.Op == blockdev.Flush:
		return r.Op == blockdev.Flush || r.Flags&blockdev.FUA != 0
	}
	return r.Op != blockdev.Flush && hit.Offset >= r.Offset && hit.Offset < r.Offset+block
}

// compare reads every block through the queue that met the fault: it must
// hold what was written, each sector old or new where that failed, and what it
// did where nothing was.
func (l *lane) compare(reqs []*blockdev.Request) {
	l.t.Helper()
	type content struct{ now, or byte }
	want := map[int64]content{}
	for _, r := range reqs {
		now := byte(fresh)
		if r.Op == blockdev.WriteZeroes {
			now = 0
		}
		switch {
		case r.Op == blockdev.Read || r.Op == blockdev.Flush:
		case r.Err == nil:
			want[r.Offset] = content{now, now}
		default:
			want[r.Offset] = content{now, old}
		}
	}
	for i := range int64(blocks) {
		c, written := want[i*block]
		if !written {
			c = content{old, old}
		}
		r := &blockdev.Request{Op: blockdev.Read, Offset: i * block, Buf: l.buf(0, 0x77)}
		l.must(r)
		for s := 0; s < block; s += 512 {
			if sector := r.Buf[s:][:512]; !filled(sector, c.now) && !filled(sector, c.or) {
				l.t.Errorf("byte %d starts with %x, want %#x or %#x", i*block+int64(s), sector[:8], c.now, c.or)
			}
		}
	}
}

func filled(b []byte, with byte) bool { return bytes.Count(b, []byte{with}) == len(b) }

// pulled takes the drive away while requests are in flight: each comes back,
// from then on with an error, and none hangs.
func pulled(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device, depth int) {
	l := openLane(t, over(t, m), depth)
	defer l.close()
	const after = 100
	m.Fail(func(i int, _ *blockdev.Request) Fault {
		if i < after {
			return Fault{}
		}
		return Fault{Err: unix.ENODEV}
	})
	good, bad := 0, 0
	for range 2 * after {
		reqs := l.mixed()
		for at := 0; at < len(reqs); at += depth {
			l.do(reqs[at:min(at+depth, len(reqs))])
		}
		for _, r := range reqs {
			if bad++; r.Err == nil {
				good, bad = good+1, 0
			}
		}
	}
	if good == 0 || good > after || bad < 10*laneBuffers {
		t.Errorf("%d requests succeeded on a drive that is gone after %d operations, the last %d failed", good, after, bad)
	}
}
