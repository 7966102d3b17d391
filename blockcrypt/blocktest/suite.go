package blocktest

import (
	"os"
	"runtime"
	"testing"
	"time"

	"sealbay/blockcrypt/blockdev"
)

// SuiteSize is the least size in bytes of a device that Suite is given. It
// writes all over the first SuiteSize bytes and the last megabyte.
const SuiteSize = 4 << 20

// kind is which devices a check is for.
type kind uint8

const (
	anyDevice kind = iota
	writable
	readOnlyDevice
)

// Suite checks every promise of package blockdev on the devices that open
// returns, a fresh or reused one for each subtest, of which Suite closes
// each. Of a device whose Info says ReadOnly it checks what can be checked.
func Suite(t *testing.T, open func(t *testing.T) blockdev.Device) {
	checks := []struct {
		name  string
		on    kind
		check func(*fixture)
	}{
		{"Info", anyDevice, checkInfo},
		{"ReadOnly", readOnlyDevice, checkReadOnly},
		{"ReadWhole", anyDevice, checkReadEnds},
		{"RoundTrip", writable, checkRoundTrip},
		{"NeighboursUntouched", writable, checkNeighbours},
		{"Malformed", writable, checkMalformed},
		{"TooLarge", writable, checkTooLarge},
		{"MalformedAmongGood", writable, checkMalformedAmongGood},
		{"FullQueue", writable, checkFullQueue},
		{"ReapMin", writable, checkReapMin},
		{"OnceEach", writable, checkOnceEach},
		{"Stamps", writable, checkStamps},
		{"Slots", writable, checkSlots},
		{"Flush", writable, checkFlush},
		{"ForceUnitAccess", writable, checkFUA},
		{"Discard", writable, checkDiscard},
		{"WriteZeroes", writable, checkWriteZeroes},
		{"Random", writable, checkRandom},
		{"Buffers", writable, checkBuffers},
		{"TwoQueues", writable, checkTwoQueues},
		{"CloseInFlight", writable, checkCloseInFlight},
		{"Closed", anyDevice, checkClosed},
	}
	dev := open(t)
	readOnly := dev.Info().ReadOnly
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.on == anyDevice || readOnly == (c.on == readOnlyDevice) {
			t.Run(c.name, func(t *testing.T) { run(t, open, c.check) })
		}
	}
}

func run(t *testing.T, open func(t *testing.T) blockdev.Device, check func(*fixture)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := openFiles(t)
	f := newFixture(t, open(t))
	defer func() {
		f.close()
		if after := openFiles(t); after > before {
			t.Errorf("%d file descriptors open, %d before the device was opened", after, before)
		}
	}()
	check(f)
}

// openFiles counts the process's file descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	// The runtime opens two for its poller when the first timer starts, which
	// would look like a leak of whatever was under test just then.
	time.AfterFunc(time.Hour, func() {}).Stop()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// fixture is one device under test with what a check needs around it.
type fixture struct {
	*testing.T
	dev   blockdev.Device
	info  blockdev.Info
	arena *blockdev.Arena
	off   int // how far buffers start from a page
	queue []blockdev.Queue
}

func newFixture(t *testing.T, dev blockdev.Device) *fixture {
	t.Helper()
	arena, err := blockdev.NewArena(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, dev: dev, info: dev.Info(), arena: arena}
	if f.info.Align < blockdev.PageSize {
		f.off = max(f.info.Align, 1) // the least aligned that is allowed
	}
	if f.info.Size < SuiteSize {
		t.Fatalf("device of %d bytes under test: Suite needs %d", f.info.Size, SuiteSize)
	}
	return f
}

// close closes queues first, then the device.
func (f *fixture) close() {
	f.Helper()
	for _, q := range f.queue {
		if err := q.Close(); err != nil {
			f.Errorf("closing a queue: %v", err)
		}
	}
	if err := f.dev.Close(); err != nil {
		f.Errorf("closing the device: %v", err)
	}
	if err := f.arena.Close(); err != nil {
		f.Error(err)
	}
}

// open opens a queue that the fixture closes.
func (f *fixture) open(o blockdev.QueueOptions) blockdev.Queue {
	f.Helper()
	q, err := f.dev.OpenQueue(o)
	if err != nil {
		f.Fatalf("opening a queue: %v", err)
	}
	if want := max(o.Depth, 1); q.Depth() != want {
		f.Fatalf("queue opened with depth %d says %d", want, q.Depth())
	}
	f.queue = append(f.queue, q)
	return q
}

// buf returns n bytes with no better alignment than Info.Align.
func (f *fixture) buf(n int) []byte { return f.arena.Cut(n + f.off)[f.off:] }

// sectors returns n whole sectors in bytes.
func (f *fixture) sectors(n int) int { return n * f.info.Sector }

// do submits reqs and reaps until all are back, each exactly once.
func (f *fixture) do(q blockdev.Queue, reqs ...*blockdev.Request) {
	f.Helper()
	back := map[*blockdev.Request]bool{}
	done := make([]*blockdev.Request, q.Depth())
	for sent := 0; len(back) < len(reqs); {
		n, err := q.Submit(reqs[sent:])
		if err != nil {
			f.Fatalf("submitting: %v", err)
		}
		sent += n
		n, err = q.Reap(done, 1)
		if err != nil {
			f.Fatalf("reaping: %v", err)
		}
		if n == 0 {
			f.Fatalf("Reap(min 1) returned nothing with %d requests in flight", sent-len(back))
		}
		for _, r := range done[:n] {
			if back[r] {
				f.Fatalf("%v at %d came back twice", r.Op, r.Offset)
			}
			back[r] = true
		}
	}
	for _, r := range reqs {
		if !back[r] {
			f.Fatalf("%v at %d never came back", r.Op, r.Offset)
		}
	}
}

// must is do where every request must succeed.
func (f *fixture) must(q blockdev.Queue, reqs ...*blockdev.Request) {
	f.Helper()
	f.do(q, reqs...)
	for _, r := range reqs {
		if r.Err != nil {
			f.Fatalf("unexpected: %v", r.Err)
		}
	}
}

func (f *fixture) write(q blockdev.Queue, off int64, data []byte) {
	f.Helper()
	b := f.buf(len(data))
	copy(b, data)
	f.must(q, &blockdev.Request{Op: blockdev.Write, Offset: off, Buf: b})
}

func (f *fixture) read(q blockdev.Queue, off int64, n int) []byte {
	f.Helper()
	b := f.buf(n)
	f.must(q, &blockdev.Request{Op: blockdev.Read, Offset: off, Buf: b})
	return b
}
