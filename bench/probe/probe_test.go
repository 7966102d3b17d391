package probe_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/engine"
)

func open(t testing.TB, path string) *probe.Probe {
	t.Helper()
	p, err := probe.Open(probe.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// run keeps depth requests of size bytes in flight on a queue of dev, n in
// all, and hands each to each when it is reaped. The thread must be locked.
func run(p *probe.Probe, dev blockdev.Device, op blockdev.Op, depth, size, n int, each func(*blockdev.Request, probe.KernelStamps)) (err error) {
	w, err := p.Watch(depth)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	arena, err := blockdev.NewArena(depth * size)
	if err != nil {
		return err
	}
	defer arena.Close()
	q, err := dev.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: arena, SlotBase: w.SlotBase})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	if err := w.Bind(q); err != nil {
		return err
	}
	var next []*blockdev.Request
	for range depth {
		next = append(next, &blockdev.Request{Op: op, Buf: arena.Cut(size)})
	}
	done := make([]*blockdev.Request, depth)
	for submitted, reaped := 0, 0; reaped < n; {
		for _, r := range next {
			r.Offset = rand.Int64N(dev.Info().Size/int64(size)) * int64(size)
		}
		next = next[:min(len(next), n-submitted)]
		took, err := q.Submit(next)
		if err != nil || took != len(next) {
			return fmt.Errorf("took %d of %d requests: %w", took, len(next), err)
		}
		submitted += took
		got, err := q.Reap(done, 1)
		if err != nil {
			return err
		}
		for _, r := range done[:got] {
			if r.Err != nil {
				return r.Err
			}
			each(r, p.Take(r.Slot))
		}
		reaped += got
		next = append(next[:0], done[:got]...)
	}
	return nil
}

func openEngine(t testing.TB, name, path string) blockdev.Device {
	t.Helper()
	dev, err := engine.Open(path, name, engine.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, dev.Close()) })
	return dev
}

func TestStages(t *testing.T) {
	path := loopDevice(t, 64<<20)
	p := open(t, path)
	for _, name := range []string{"direct", "io_uring"} {
		t.Run(name, func(t *testing.T) {
			dev := openEngine(t, name, path)
			for _, c := range []struct {
				name              string
				op                blockdev.Op
				depth, size, most int
			}{
				{"read 4 KiB QD1", blockdev.Read, 1, 4096, 3000},
				{"write 4 KiB QD1", blockdev.Write, 1, 4096, 3000},
				{"read 1 MiB QD1", blockdev.Read, 1, 1 << 20, 300},
				{"read 4 KiB QD8", blockdev.Read, 8, 4096, 3000},
				{"write 128 KiB QD32", blockdev.Write, 32, 128 << 10, 1000},
			} {
				t.Run(c.name, func(t *testing.T) {
					checkStages(t, p, dev, c.op, c.depth, c.size, c.most)
				})
			}
		})
	}
}

// TestStagesOnOldKernels uses what stands in for block_io_start before 6.5.
func TestStagesOnOldKernels(t *testing.T) {
	path := loopDevice(t, 64<<20)
	p, err := probe.OpenOld(probe.Options{Path: path})
	must(t, err)
	defer p.Close()
	dev := openEngine(t, "io_uring", path)
	checkStages(t, p, dev, blockdev.Read, 1, 4096, 3000)
	checkStages(t, p, dev, blockdev.Write, 8, 4096, 3000)
}

// TestStagesWithoutRequests uses a device that takes bios.
func TestStagesWithoutRequests(t *testing.T) {
	path := zram(t, 64<<20)
	p := open(t, path)
	if p.HasRequests() {
		t.Fatalf("%s is said to make requests", path)
	}
	dev := openEngine(t, "io_uring", path)
	checkStages(t, p, dev, blockdev.Write, 1, 4096, 3000)
	checkStages(t, p, dev, blockdev.Read, 1, 4096, 3000)
}

// TestSplit reads blocks that the device takes in 16 parts only, each in a
// request of its own.
func TestSplit(t *testing.T) {
	path := loopDevice(t, 64<<20)
	limit := "/sys/block/" + filepath.Base(path) + "/queue/max_sectors_kb"
	before, err := os.ReadFile(limit)
	must(t, err)
	t.Cleanup(func() { must(t, os.WriteFile(limit, before, 0)) }) // it outlives the loop device's file
	must(t, os.WriteFile(limit, []byte("64"), 0))
	dev := openEngine(t, "io_uring", path)
	for name, open := range map[string]func(probe.Options) (*probe.Probe, error){"new": probe.Open, "old": probe.OpenOld} {
		p, err := open(probe.Options{Path: path})
		must(t, err)
		if parts := checkStages(t, p, dev, blockdev.Read, 1, 1<<20, 300); parts != 16 {
			t.Errorf("%s kernel: at most %d parts, want 16", name, parts)
		}
		must(t, p.Close())
	}
	for name, open := range map[string]func(string) (*probe.Live, error){"new": probe.OpenLive, "old": probe.OpenLiveOld} {
		l, err := open(path)
		must(t, err)
		readLarge(t, path, 1<<20, 100)
		s, err := l.Read()
		must(t, err)
		for stage := range probe.LiveStages {
			if n := s.Histograms[stage][probe.LiveRead].Count; n < 1580 || n > 1650 {
				t.Errorf("%s kernel, %s: %d requests, want 1600", name, stage, n)
			}
		}
		must(t, l.Close())
	}
}

// checkStages returns how many parts an I/O had at most.
func checkStages(t *testing.T, p *probe.Probe, dev blockdev.Device, op blockdev.Op, depth, size, n int) (parts int) {
	t.Helper()
	faults := map[probe.Fault]int{}
	var sum probe.Times
	onOneThread(t, func() error {
		return run(p, dev, op, depth, size, n, func(r *blockdev.Request, k probe.KernelStamps) {
			times, fault := probe.Divide(r.Stamps, k)
			faults[fault]++
			parts = max(parts, k.Parts)
			if fault != probe.NoFault && faults[fault] < 3 {
				t.Logf("%v: %+v %+v", fault, r.Stamps, k)
			}
			for s, ns := range times {
				sum[s] += ns
			}
		})
	})
	matched := max(faults[probe.NoFault], 1)
	for s, ns := range sum {
		t.Logf("%-9s %6d ns", probe.Stage(s), ns/int64(matched))
	}
	t.Logf("faults %v, at most %d parts", faults, parts)
	if faults[probe.NoFault] < n*98/100 {
		t.Errorf("of %d only %d were matched: %v", n, faults[probe.NoFault], faults)
	}
	for _, s := range []probe.Stage{probe.Submit, probe.Device, probe.Complete} {
		if sum[s] == 0 {
			t.Errorf("no time in stage %v", s)
		}
	}
	return parts
}

// readBlocks reads n blocks of 4 KiB without a probe.
func readBlocks(t testing.TB, path string, n int) { t.Helper(); readLarge(t, path, 4096, n) }

// readLarge reads n blocks of size bytes.
func readLarge(t testing.TB, path string, size, n int) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	must(t, err)
	defer unix.Close(fd)
	arena, err := blockdev.NewArena(size)
	must(t, err)
	defer arena.Close()
	for i := range n {
		if got, err := unix.Pread(fd, arena.Bytes(), int64(i%8)*int64(size)); err != nil || got != size {
			t.Fatalf("pread returned %d: %v", got, err)
		}
	}
}
