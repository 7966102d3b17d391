package uring

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/internal/osdev"
	"sealbay/blockcrypt/blocktest"
)

// fake is a kernel that carries submissions out on a real file, in its own
// order, and fails as it is told: for faults that a test machine's kernel
// cannot be asked for.
type fake struct {
	t     testing.TB
	ring  *ring
	fd    int
	drive blockdev.Queue // instead of fd, where it is not nil
	rng   *rand.Rand
	words [4]uint32 // heads and tails
	sqes  []sqe
	cqes  []cqe
	done  []cqe // carried out, not yet in the ring

	count  int // submissions carried out
	yields int
	sleeps int                               // enters that wait
	late   int                               // yields before which nothing that is done can be had
	refuse func() unix.Errno                 // what enter answers, 0 to go on
	fault  func(n int, s *sqe) (int32, bool) // what submission n answers without being carried out
	short  func(n int) int                   // how much of n bytes are moved
}

func newFake(t testing.TB, fd, depth int) *fake {
	entries := 1
	for entries < depth {
		entries *= 2
	}
	f := &fake{t: t, fd: fd, sqes: make([]sqe, entries), cqes: make([]cqe, 2*entries)}
	f.rng = rand.New(rand.NewPCG(1, uint64(depth)))
	f.refuse = func() unix.Errno { return 0 }
	f.fault = func(int, *sqe) (int32, bool) { return 0, false }
	f.short = func(n int) int { return n }
	f.ring = &ring{
		kernel: f, fd: -1, flags: setupTaskrunFlag, sqFlags: new(uint32),
		sqHead: &f.words[0], sqTail: &f.words[1], cqHead: &f.words[2], cqTail: &f.words[3],
		sqMask: uint32(entries - 1), cqMask: uint32(2*entries - 1),
		sqes: unsafe.Pointer(&f.sqes[0]), cqes: unsafe.Pointer(&f.cqes[0]),
		sqeStep: uintptr(sqeSize), cqeStep: uintptr(cqeSize),
	}
	return f
}

func (f *fake) enter(submit, wait, _ uint32, _ bool) (int, unix.Errno) {
	if e := f.refuse(); e != 0 {
		return 0, e
	}
	taken := f.rng.IntN(int(submit) + 1)
	if taken < int(submit) && (wait > 0 || f.rng.IntN(2) == 0) {
		taken = int(submit) // as the kernel does when nothing is in the way
	}
	for range taken {
		s := f.sqes[f.words[0]&f.ring.sqMask]
		f.words[0]++
		f.done = append(f.done, cqe{userData: s.userData, res: f.carryOut(&s)})
		f.count++
	}
	f.rng.Shuffle(len(f.done), func(i, j int) { f.done[i], f.done[j] = f.done[j], f.done[i] })
	if wait > 0 {
		f.sleeps++
	}
	for len(f.done) > 0 && (int(f.words[3]-f.words[2]) < int(wait) || f.yields >= f.late && f.rng.IntN(3) > 0) {
		f.cqes[f.words[3]&f.ring.cqMask] = f.done[0]
		f.words[3]++
		f.done = f.done[1:]
	}
	f.tell()
	if int(f.words[3]-f.words[2]) < int(wait) {
		f.t.Errorf("a wait for %d completions would never end: %d ready, none in flight", wait, f.words[3]-f.words[2])
		return taken, unix.EDEADLK
	}
	return taken, 0
}

func (f *fake) yield() {
	f.yields++
	f.tell()
}

// tell raises the flag while completions wait for an enter.
func (f *fake) tell() {
	*f.ring.sqFlags = 0
	if len(f.done) > 0 && f.yields >= f.late {
		*f.ring.sqFlags = sqTaskrun
	}
}

func (f *fake) carryOut(s *sqe) int32 {
	if s.flags&sqeFixedFile == 0 || s.fd != 0 {
		f.t.Errorf("submission without the registered file: %+v", *s)
	}
	if res, ok := f.fault(f.count, s); ok {
		return res
	}
	if f.drive != nil {
		return f.onDrive(s)
	}
	var n int
	var err error
	switch s.opcode {
	case opRead, opWrite:
		buf := unsafe.Slice((*byte)(ptr(s.addr)), f.short(int(s.length)))
		if s.opcode == opRead {
			n, err = unix.Pread(f.fd, buf, int64(s.off))
		} else {
			n, err = unix.Pwrite(f.fd, buf, int64(s.off))
		}
	case opFsync:
		err = unix.Fdatasync(f.fd)
	case opFallocate:
		err = unix.Fallocate(f.fd, s.length, int64(s.off), int64(s.addr))
	default:
		err = unix.EINVAL
	}
	if err != nil {
		return -int32(err.(unix.Errno))
	}
	return int32(n)
}

// onDrive carries s out on a drive that may lose its power.
func (f *fake) onDrive(s *sqe) int32 {
	r := &blockdev.Request{Offset: int64(s.off)}
	switch s.opcode {
	case opRead, opWrite:
		r.Buf = unsafe.Slice((*byte)(ptr(s.addr)), s.length)
		if s.opcode == opWrite {
			r.Op = blockdev.Write
		}
		if s.rwFlags&unix.RWF_DSYNC != 0 {
			r.Flags = blockdev.FUA
		}
	case opFsync:
		r.Op = blockdev.Flush
	case opFallocate:
		r.Op, r.Length = blockdev.WriteZeroes, int64(s.addr)
	}
	one := []*blockdev.Request{r}
	n, err := f.drive.Submit(one)
	k, err2 := f.drive.Reap(one, 1)
	if err := errors.Join(err, err2, r.Err); n != 1 || k != 1 || err != nil {
		f.t.Errorf("drive under a fake kernel: %d, %d, %v", n, k, err)
		return -int32(unix.EIO)
	}
	if s.opcode == opRead || s.opcode == opWrite {
		return int32(s.length)
	}
	return 0
}

// ptr makes the address that a submission carries a pointer again, as the
// kernel does.
func ptr(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// fakeDevice has queues over fakes.
type fakeDevice struct {
	t      testing.TB
	node   *osdev.Node
	shape  func(*fake)
	look   int64 // ns
	closed bool
}

func newFakeDevice(t testing.TB, shape func(*fake)) *fakeDevice {
	n, err := osdev.Open(blocktest.File(t, "", size), Engine, false)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeDevice{t: t, node: n, shape: shape, look: pollTime}
}

func (d *fakeDevice) Info() blockdev.Info { return d.node.Info }
func (d *fakeDevice) Close() error        { d.closed = true; return d.node.Close() }

func (d *fakeDevice) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if d.closed {
		return nil, blockdev.ErrClosed
	}
	o, err := o.Defaults()
	if err != nil {
		return nil, err
	}
	f := newFake(d.t, d.node.FD, o.Depth)
	d.shape(f)
	q := &queue{node: d.node, o: o, ring: f.ring, look: d.look}
	q.makePlaces()
	return q, nil
}

// Whatever a kernel may do to a submission without harm to the data must not
// be seen from outside: the Suite passes over each.
func TestHiddenTroubles(t *testing.T) {
	some := func(f *fake, in int, e unix.Errno) (int32, bool) { return -int32(e), f.rng.IntN(in) == 0 }
	for name, shape := range map[string]func(*fake){
		"out of order":      func(*fake) {},
		"short completions": func(f *fake) { f.short = func(n int) int { return max(512, f.rng.IntN(n+1)&^511) } },
		"EAGAIN":            func(f *fake) { f.fault = func(int, *sqe) (int32, bool) { return some(f, 3, unix.EAGAIN) } },
		"EINTR":             func(f *fake) { f.fault = func(int, *sqe) (int32, bool) { return some(f, 3, unix.EINTR) } },
		"enter refuses": func(f *fake) {
			f.refuse = func() unix.Errno {
				return []unix.Errno{0, 0, unix.EINTR, unix.EAGAIN, unix.EBUSY}[f.rng.IntN(5)]
			}
		},
		"no fallocate": func(f *fake) {
			f.fault = func(_ int, s *sqe) (int32, bool) { return -int32(unix.EOPNOTSUPP), s.opcode == opFallocate }
		},
	} {
		t.Run(name, func(t *testing.T) {
			blocktest.Suite(t, func(t *testing.T) blockdev.Device { return newFakeDevice(t, shape) })
		})
	}
}

// run sends reqs through a queue of d at once and waits for all.
func run(t *testing.T, d blockdev.Device, reqs []*blockdev.Request) blockdev.Queue {
	t.Helper()
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: len(reqs)})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := q.Submit(reqs); n != len(reqs) || err != nil {
		t.Fatal(n, err)
	}
	if n, err := q.Reap(make([]*blockdev.Request, len(reqs)), len(reqs)); n != len(reqs) || err != nil {
		t.Fatalf("reaped %d of %d: %v", n, len(reqs), err)
	}
	return q
}

func requests(t *testing.T) []*blockdev.Request {
	arena, err := blockdev.NewArena(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := arena.Close(); err != nil {
			t.Error(err)
		}
	})
	return []*blockdev.Request{
		{Op: blockdev.Write, Buf: arena.Cut(8192)},
		{Op: blockdev.Read, Offset: 65536, Buf: arena.Cut(4096)},
		{Op: blockdev.Flush},
		{Op: blockdev.WriteZeroes, Offset: 1 << 20, Length: 8192, Flags: blockdev.FUA},
		{Op: blockdev.Discard, Offset: 2 << 20, Length: 65536},
	}
}

// A failure of each single submission fails its own request and says which.
func TestFailures(t *testing.T) {
	for _, e := range []unix.Errno{unix.EIO, unix.ECANCELED, unix.ENODEV, unix.ENOSPC} {
		for n := range 6 { // the sixth is the flush behind the zeros
			var user uint64
			d := newFakeDevice(t, func(f *fake) {
				f.fault = func(i int, s *sqe) (int32, bool) {
					if i == n {
						user = s.userData
					}
					return -int32(e), i == n
				}
			})
			reqs := requests(t)
			q := run(t, d, reqs)
			for _, r := range reqs {
				op := new(blockdev.OpError)
				hit := r.Slot == uint16(user)
				if hit != (r.Err != nil) || hit && (!errors.Is(r.Err, e) || !errors.As(r.Err, &op) || op.Op != r.Op || op.Offset != r.Offset) {
					t.Errorf("%v at submission %d: %v at %d says %v", e, n, r.Op, r.Offset, r.Err)
				}
			}
			if err := errors.Join(q.Close(), d.Close()); err != nil {
				t.Error(err)
			}
		}
	}
}

// A kernel that always says EAGAIN must not be asked for ever, and one that
// moves nothing has met the end of the device.
func TestPatienceEnds(t *testing.T) {
	for _, c := range []struct {
		res  int32
		want error
	}{{-int32(unix.EAGAIN), unix.EAGAIN}, {0, blockdev.ErrShort}} {
		d := newFakeDevice(t, func(f *fake) { f.fault = func(int, *sqe) (int32, bool) { return c.res, true } })
		reqs := requests(t)[:2]
		q := run(t, d, reqs)
		for _, r := range reqs {
			if !errors.Is(r.Err, c.want) {
				t.Errorf("%v: %v, want %v", r.Op, r.Err, c.want)
			}
		}
		if err := errors.Join(q.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	}
}

// When the ring itself is lost, everything in flight is answered, and nothing
// more is taken.
func TestRingLost(t *testing.T) {
	d := newFakeDevice(t, func(f *fake) { f.refuse = func() unix.Errno { return unix.EBADFD } })
	reqs := requests(t)
	q := run(t, d, reqs)
	for _, r := range reqs {
		if !errors.Is(r.Err, unix.EBADFD) {
			t.Errorf("%v: %v, want %v", r.Op, r.Err, unix.EBADFD)
		}
	}
	if n, err := q.Submit(reqs); n != 0 || !errors.Is(err, unix.EBADFD) {
		t.Errorf("a lost ring took %d requests: %v", n, err)
	}
	if err := errors.Join(q.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// What the engine promises with Flush and FUA must reach the kernel as such.
func TestPowerCut(t *testing.T) {
	node := newFakeDevice(t, nil).node
	blocktest.PowerCut(t, blocktest.New(1<<20, blocktest.Options{}), func(t *testing.T, m *blocktest.Memory) blockdev.Device {
		return &fakeDevice{t: t, node: node, shape: func(f *fake) {
			q, err := m.OpenQueue(blockdev.QueueOptions{})
			if err != nil {
				t.Fatal(err)
			}
			f.drive = q
		}}
	})
	if err := node.Close(); err != nil {
		t.Error(err)
	}
}
