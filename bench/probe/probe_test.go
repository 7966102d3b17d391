package probe_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blockdev"
)

type stamps = blockdev.Stamps

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

// blockingReads reads n blocks of size bytes one after the other from path and
// hands each one's stamps to each.
func blockingReads(p *probe.Probe, path string, n, size int, each func(stamps, probe.KernelStamps)) error {
	w, err := p.Watch(1, true)
	if err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	arena, err := blockdev.NewArena(size)
	if err != nil {
		return err
	}
	buf := arena.Cut(size)
	for i := range n {
		e := blockdev.Stamps{Submitted: blockdev.Now()}
		e.Issued = e.Submitted
		if got, err := unix.Pread(fd, buf, int64(i%8)*int64(size)); err != nil || got != size {
			return fmt.Errorf("pread returned %d: %w", got, err)
		}
		e.Completed = blockdev.Now()
		e.Reaped = e.Completed
		each(e, p.Take(w.SlotBase))
	}
	return errors.Join(w.Close(), unix.Close(fd), arena.Close())
}

func TestBlockingReads(t *testing.T) {
	path := loopDevice(t, 64<<20)
	p := open(t, path)
	const n = 2000
	faults := map[probe.Fault]int{}
	var sum probe.Times
	onOneThread(t, func() error {
		return blockingReads(p, path, n, 4096, func(e blockdev.Stamps, k probe.KernelStamps) {
			times, fault := probe.Divide(e, k)
			faults[fault]++
			if fault == probe.Misordered && faults[fault] < 5 {
				t.Logf("%+v %+v", e, k)
			}
			for s, ns := range times {
				sum[s] += ns
			}
		})
	})
	for s, ns := range sum {
		t.Logf("%-9s %6d ns", probe.Stage(s), ns/n)
	}
	t.Logf("faults %v", faults)
	if faults[probe.NoFault] < n*98/100 {
		t.Errorf("of %d reads only %d were matched: %v", n, faults[probe.NoFault], faults)
	}
}

// readBlocks reads n blocks of 4 KiB without a probe.
func readBlocks(t testing.TB, path string, n int) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	must(t, err)
	defer unix.Close(fd)
	arena, err := blockdev.NewArena(4096)
	must(t, err)
	defer arena.Close()
	for i := range n {
		if got, err := unix.Pread(fd, arena.Bytes(), int64(i%8)*4096); err != nil || got != 4096 {
			t.Fatalf("pread returned %d: %v", got, err)
		}
	}
}
