package probe_test

import (
	"testing"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blocktest"
)

func TestLive(t *testing.T) { checkCounts(t, probe.OpenLive) }

// TestLiveOnOldKernels uses what stands in for block_io_start before 6.5.
func TestLiveOnOldKernels(t *testing.T) { checkCounts(t, probe.OpenLiveOld) }

func checkCounts(t *testing.T, open func(string) (*probe.Live, error)) {
	t.Helper()
	path := loopDevice(t, 64<<20)
	l, err := open(path)
	must(t, err)
	defer l.Close()
	const n = 3000
	readBlocks(t, path, n)
	s, err := l.Read()
	must(t, err)
	for stage := range probe.LiveStages {
		h := s.Histograms[stage][probe.LiveRead]
		p50, ok := h.Quantile(0.5)
		t.Logf("%s: %d reads, mean %.0f ns, p50 %.0f ns (%v), max %d ns", stage, h.Count, h.Mean(), p50, ok, h.Max)
		if h.Count+s.Unmatched < n*99/100 || h.Count > n+100 || !ok || p50 < 50 || p50 > 1e9 || float64(h.Max) < p50 {
			t.Errorf("%s: %d of %d reads, p50 %v, max %d, %d unmatched", stage, h.Count, n, p50, h.Max, s.Unmatched)
		}
	}
	if h := s.Histograms[probe.LiveDevice][probe.LiveWrite]; h.Count != 0 {
		t.Errorf("%d writes where none were made", h.Count)
	}
	readBlocks(t, path, 100)
	after, err := l.Read()
	must(t, err)
	if h := after.Since(s).Histograms[probe.LiveDevice][probe.LiveRead]; h.Count < 99 || h.Count > 150 {
		t.Errorf("%d reads since, want 100", h.Count)
	}
}

// TestLivePartition: a disk's requests are also those of its partitions, a
// partition's are its own alone.
func TestLivePartition(t *testing.T) {
	disk := blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), 64<<20), 512, "--partscan")
	blocktest.Command(t, "util-linux", "addpart", disk, "1", "2048", "8192")
	t.Cleanup(func() { blocktest.Command(t, "util-linux", "delpart", disk, "1") })
	const whole, part = 100, 200
	for name, open := range map[string]func(string) (*probe.Live, error){"new": probe.OpenLive, "old": probe.OpenLiveOld} {
		for path, want := range map[string]uint64{disk: whole + part, disk + "p1": part} {
			l, err := open(path)
			must(t, err)
			readBlocks(t, disk, whole)
			readBlocks(t, disk+"p1", part)
			s, err := l.Read()
			must(t, err)
			for stage := range probe.LiveStages {
				if n := s.Histograms[stage][probe.LiveRead].Count; n < want*99/100 || n > want+20 {
					t.Errorf("%s kernel, %s, %s: %d reads, want %d", name, path, stage, n, want)
				}
			}
			must(t, l.Close())
		}
	}
}
