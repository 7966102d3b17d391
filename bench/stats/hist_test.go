package stats

import (
	"math"
	"slices"
	"testing"
)

func TestHistAgainstSorting(t *testing.T) {
	rng := newRand(t)
	h, all := NewHist(), make([]int64, 20_000)
	for i := range all {
		all[i] = int64(10_000 * math.Exp(rng.NormFloat64()))
		h.Record(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		got, ok := h.Quantile(q)
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if !ok || math.Abs(float64(got-want)) > 0.002*float64(want) {
			t.Errorf("quantile %v is %d (%v), want %d", q, got, ok, want)
		}
	}
	if _, ok := h.Quantile(0.9999); ok {
		t.Error("p99.99 of 20,000 samples was told")
	}
	if h.Max() != all[len(all)-1] || h.Count() != int64(len(all)) {
		t.Errorf("max %d count %d, want %d and %d", h.Max(), h.Count(), all[len(all)-1], len(all))
	}
}

func TestHistEnough(t *testing.T) {
	for _, c := range []struct {
		n    int
		q    float64
		want bool
	}{{0, 0.5, false}, {1, 0.5, true}, {9, 0.9, false}, {10, 0.9, true}, {99, 0.99, false}, {100, 0.99, true},
		{9_999, 0.999, false}, {10_000, 0.999, true}, {99_999, 0.9999, false}, {100_000, 0.9999, true}} {
		h := NewHist()
		for range c.n {
			h.Record(5)
		}
		if got := h.Enough(c.q); got != c.want {
			t.Errorf("%d samples enough for %v: %v, want %v", c.n, c.q, got, c.want)
		}
	}
}

func TestHistRoundTrip(t *testing.T) {
	h := NewHist()
	for _, ns := range []int64{-5, 0, 700, 12_345, 1 << 62} {
		h.Record(ns)
	}
	if h.Count() != 5 || h.Max() != 1<<62 {
		t.Fatalf("count %d max %d: a latency out of range was lost", h.Count(), h.Max())
	}
	text, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(text)
	if err != nil || !back.h.Equals(h.h) {
		t.Fatalf("decoding what was encoded: %v, equal %v", err, err == nil)
	}
	if _, err := Decode(text[:len(text)/2]); err == nil {
		t.Error("half a histogram was decoded")
	}
	h.Merge(back)
	if h.Count() != 10 {
		t.Errorf("merged count %d, want 10", h.Count())
	}
	h.Reset()
	if _, ok := h.Quantile(0.5); ok || h.Count() != 0 || h.Max() != 0 {
		t.Error("a reset histogram still tells a quantile")
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	h := NewHist()
	if n := testing.AllocsPerRun(1000, func() { h.Record(12_345) }); n != 0 {
		t.Errorf("recording allocates %v times", n)
	}
}
