package probe_test

import (
	"testing"

	"sealbay/bench/probe"
)

func TestLive(t *testing.T) {
	path := loopDevice(t, 64<<20)
	l, err := probe.OpenLive(path)
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
