package blockcrypt

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/engine"
	"sealbay/blockcrypt/blocktest"
	"sealbay/blockcrypt/xts"
)

const testOffset = 1 << 20

// staged is a Device with the encrypting stage over another, without header.
type staged struct {
	blockdev.Device
	c      transform
	g      geometry
	closed bool
}

func (s *staged) Info() blockdev.Info { return s.g.info }

func (s *staged) Close() error {
	s.closed = true
	return s.Device.Close()
}

func (s *staged) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if s.closed {
		return nil, blockdev.ErrClosed
	}
	return newQueue(s.Device, s.c, s.g, o)
}

func testCipher(t testing.TB) *xts.Cipher {
	t.Helper()
	key := make([]byte, 64)
	for i := range key {
		key[i] = byte(i)
	}
	c, err := xts.New(key, xts.Options{SectorSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stage(t testing.TB, d blockdev.Device, discard bool) *staged {
	return &staged{Device: d, c: testCipher(t), g: makeGeometry(d.Info(), "volume", 4096, testOffset, discard)}
}

func TestQueueSuite(t *testing.T) {
	const size = blocktest.SuiteSize + testOffset
	for name, open := range map[string]func(t *testing.T) blockdev.Device{
		"memory": func(*testing.T) blockdev.Device { return blocktest.New(size, blocktest.Options{}) },
		"out of order": func(*testing.T) blockdev.Device {
			return blocktest.New(size, blocktest.Options{Seed: 11, Align: 512, Sector: 4096})
		},
		"read-only": func(*testing.T) blockdev.Device { return blocktest.New(size, blocktest.Options{ReadOnly: true}) },
		"direct":    func(t *testing.T) blockdev.Device { return onFile(t, size, "direct") },
		"io_uring":  func(t *testing.T) blockdev.Device { return onFile(t, size, "io_uring") },
	} {
		t.Run(name, func(t *testing.T) {
			blocktest.Suite(t, func(t *testing.T) blockdev.Device { return stage(t, open(t), name == "memory") })
		})
	}
}

func onFile(t *testing.T, size int64, name string) blockdev.Device {
	t.Helper()
	d, err := engine.Open(blocktest.File(t, "", size), name, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCopyingSuite(t *testing.T) {
	blocktest.Suite(t, func(t *testing.T) blockdev.Device {
		d, err := NewCopying(blocktest.New(blocktest.SuiteSize+testOffset, blocktest.Options{Seed: 5}), 4096, testOffset)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// What lies on the drive must be what xts makes of the plaintext, sector for
// sector, with the IV of dm-crypt's plain64, and nothing outside.
func TestQueueStoresCiphertext(t *testing.T) {
	m := blocktest.New(8<<20, blocktest.Options{})
	s, err := blockdev.NewSync(stage(t, m, false))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	plain := bytes.Repeat([]byte("a marker that must not be found.."), 3*4096)[:12*4096]
	if _, err := s.WriteAt(plain, 5*4096); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(blockdev.Request{Op: blockdev.WriteZeroes, Offset: 7 * 4096, Length: 2 * 4096}); err != nil {
		t.Fatal(err)
	}
	clear(plain[2*4096 : 4*4096])
	want, c := make([]byte, 8<<20), testCipher(t)
	for i := range 12 {
		at := testOffset + (5+i)*4096
		c.Encrypt(want[at:at+4096], plain[i*4096:][:4096], uint64(5+i)*8)
	}
	image := m.Image()
	if !bytes.Equal(image, want) {
		t.Error("the drive does not hold the ciphertext of what was written")
	}
	if bytes.Contains(image, []byte("a marker")) {
		t.Error("plaintext on the drive")
	}
}

// The device must never be handed the caller's memory, in either direction:
// every buffer it sees lies in the arena that the queue registered.
func TestQueueKeepsCallersMemoryFromTheDevice(t *testing.T) {
	spy := &spy{Device: blocktest.New(8<<20, blocktest.Options{}), t: t}
	blocktestRun(t, stage(t, spy, true), 4)
	if spy.seen == 0 {
		t.Error("the device saw no buffer")
	}
}

type spy struct {
	blockdev.Device
	t    *testing.T
	seen int
}

type spyQueue struct {
	blockdev.Queue
	spy   *spy
	arena *blockdev.Arena
}

func (s *spy) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	q, err := s.Device.OpenQueue(o)
	return &spyQueue{q, s, o.Buffers}, err
}

func (q *spyQueue) Submit(reqs []*blockdev.Request) (int, error) {
	for _, r := range reqs {
		if r.Buf != nil {
			q.spy.seen++
			if !q.arena.Contains(r.Buf) {
				q.spy.t.Errorf("%v at %d reaches the device in memory that is not registered", r.Op, r.Offset)
			}
		}
	}
	return q.Queue.Submit(reqs)
}

// blocktestRun writes, zeroes and reads a little at depth.
func blocktestRun(t *testing.T, d blockdev.Device, depth int) {
	t.Helper()
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	reqs := []*blockdev.Request{
		{Op: blockdev.Write, Buf: make([]byte, 8192)}, {Op: blockdev.Read, Offset: 8192, Buf: make([]byte, 4096)},
		{Op: blockdev.WriteZeroes, Offset: 16384, Length: 3 << 20}, {Op: blockdev.Flush},
	}
	if n, err := q.Submit(reqs); n != len(reqs) || err != nil {
		t.Fatal(n, err)
	}
	if n, err := q.Reap(make([]*blockdev.Request, 4), 4); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	for _, r := range reqs {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
}

// A fault at each single operation of the device below fails exactly the
// request that met it, in the volume's own terms.
func TestQueueFaults(t *testing.T) {
	for _, fault := range []blocktest.Fault{{Err: unix.EIO}, {Err: blockdev.ErrShort, Moved: 512}} {
		for n := range 6 {
			m := blocktest.New(8<<20, blocktest.Options{})
			q, err := stage(t, m, false).OpenQueue(blockdev.QueueOptions{Depth: 4})
			if err != nil {
				t.Fatal(err)
			}
			m.Fail(func(i int, _ *blockdev.Request) blocktest.Fault {
				if i == n {
					return fault
				}
				return blocktest.Fault{}
			})
			reqs := []*blockdev.Request{
				{Op: blockdev.Write, Buf: make([]byte, 8192)}, {Op: blockdev.Read, Offset: 8192, Buf: make([]byte, 4096)},
				{Op: blockdev.WriteZeroes, Offset: 16384, Length: 3 << 20}, {Op: blockdev.Flush},
			}
			if k, err := q.Submit(reqs); k != 4 || err != nil {
				t.Fatal(k, err)
			}
			if k, err := q.Reap(make([]*blockdev.Request, 4), 4); k != 4 || err != nil {
				t.Fatal(k, err)
			}
			checkFault(t, n, fault.Err, reqs)
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// checkFault: operations 0 to 3 are the first of each request, then come the
// second and third part of the zeros.
func checkFault(t *testing.T, n int, want error, reqs []*blockdev.Request) {
	t.Helper()
	failed := n
	if n > 3 {
		failed = 2
	}
	for i, r := range reqs {
		op := new(blockdev.OpError)
		switch {
		case i != failed && r.Err != nil:
			t.Errorf("fault at operation %d: %v failed too: %v", n, r.Op, r.Err)
		case i == failed && (!errors.Is(r.Err, want) || !errors.As(r.Err, &op) || op.Offset != r.Offset || op.Op != r.Op):
			t.Errorf("fault at operation %d: %v at %d says %v", n, r.Op, r.Offset, r.Err)
		}
	}
}

func TestQueueVanishedDevice(t *testing.T) {
	m := blocktest.New(8<<20, blocktest.Options{Seed: 9})
	q, err := stage(t, m, false).OpenQueue(blockdev.QueueOptions{Depth: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	reqs := make([]*blockdev.Request, 8)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: blockdev.Op(i % 3), Buf: make([]byte, 4096)}
	}
	if n, err := q.Submit(reqs); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	m.Vanish()
	if n, err := q.Reap(make([]*blockdev.Request, 8), 8); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	for _, r := range reqs {
		if !errors.Is(r.Err, unix.ENODEV) {
			t.Errorf("%v on a pulled drive: %v", r.Op, r.Err)
		}
	}
}

// FUA and Flush must mean the same through the stage, over a drive in memory
// and over the engines, on a block device.
func TestQueuePowerCut(t *testing.T) {
	m := blocktest.New(2<<20, blocktest.Options{})
	t.Run("memory", func(t *testing.T) {
		blocktest.PowerCut(t, m, func(t *testing.T, m *blocktest.Memory) blockdev.Device { return stage(t, m, false) })
	})
	mounted := blocktest.Mount(t, m)
	path := blocktest.Loop(t, mounted.Path, 512)
	for _, name := range []string{"direct", "io_uring"} {
		t.Run(name, func(t *testing.T) {
			blocktest.PowerCut(t, m, func(t *testing.T, m *blocktest.Memory) blockdev.Device {
				mounted.Swap(m)
				d, err := engine.Open(path, name, engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return stage(t, d, false)
			})
		})
	}
}

// null is a device that does nothing at all, so that what is measured over it
// is the stage alone.
type null struct{ info blockdev.Info }

type nullQueue struct {
	depth int
	held  []*blockdev.Request
}

func newNull() *null {
	return &null{blockdev.Info{Path: "null", Engine: "null", Size: 1 << 30, Sector: 512, Physical: 4096, Align: 512}}
}

func (n *null) Info() blockdev.Info { return n.info }
func (n *null) Close() error        { return nil }
func (n *null) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	return &nullQueue{o.Depth, make([]*blockdev.Request, 0, o.Depth)}, nil
}
func (q *nullQueue) Depth() int   { return q.depth }
func (q *nullQueue) Close() error { return nil }
func (q *nullQueue) Submit(reqs []*blockdev.Request) (int, error) {
	q.held = append(q.held, reqs...)
	return len(reqs), nil
}
func (q *nullQueue) Reap(done []*blockdev.Request, _ int) (int, error) {
	n := copy(done, q.held)
	q.held = q.held[:copy(q.held, q.held[n:])]
	return n, nil
}

// rounds returns a function that sends depth requests through and back.
func rounds(t testing.TB, d blockdev.Device, depth, n int, op blockdev.Op) func() {
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	reqs, done := make([]*blockdev.Request, depth), make([]*blockdev.Request, depth)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: op, Offset: int64(i * n), Length: int64(n), Buf: make([]byte, n)}
	}
	return func() {
		if k, err := q.Submit(reqs); k != depth || err != nil {
			t.Fatal(k, err)
		}
		if k, err := q.Reap(done, depth); k != depth || err != nil {
			t.Fatal(k, err)
		}
		for _, r := range done {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

func TestQueueNoAllocation(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, op := range []blockdev.Op{blockdev.Read, blockdev.Write, blockdev.Flush, blockdev.WriteZeroes} {
		for _, depth := range []int{1, 8} {
			if n := testing.AllocsPerRun(100, rounds(t, stage(t, newNull(), false), depth, 8192, op)); n != 0 {
				t.Errorf("%v at depth %d: %v allocations per batch", op, depth, n)
			}
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	for name, dev := range map[string]blockdev.Device{
		"encrypt": stage(b, newNull(), false),
		"copy":    &staged{Device: newNull(), c: copier{}, g: makeGeometry(newNull().Info(), "copying", 4096, 0, false)},
	} {
		for _, op := range []blockdev.Op{blockdev.Read, blockdev.Write} {
			for _, n := range []int{4 << 10, 128 << 10} {
				b.Run(fmt.Sprintf("%s/%v/%d", name, op, n), func(b *testing.B) {
					run := rounds(b, dev, 1, n, op)
					b.ReportAllocs()
					b.SetBytes(int64(n))
					for b.Loop() {
						run()
					}
				})
			}
		}
	}
}
