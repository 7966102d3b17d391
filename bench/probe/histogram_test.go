package probe

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for i := range Buckets - 1 {
		low, high := Bounds(i)
		if low >= high || bucket(low) != i || bucket(high-1) != i || bucket(high) != i+1 {
			t.Fatalf("bucket %d: %d to %d", i, low, high)
		}
		if low >= 8 && float64(high-low) > 0.125*float64(low) {
			t.Errorf("bucket %d: %d to %d is wider than 12.5 %%", i, low, high)
		}
	}
	if low, _ := Bounds(Buckets - 1); low < uint64(20*time.Minute) || bucket(math.MaxUint64) != Buckets-1 {
		t.Errorf("the last bucket starts at %d ns", low)
	}
}

func TestQuantileAgainstSorting(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var h Histogram
	var all []float64
	for range 5000 {
		ns := uint64(math.Exp(rng.Float64() * 20))
		all = append(all, float64(ns))
		h.Count, h.Sum, h.Max = h.Count+1, h.Sum+ns, max(h.Max, ns)
		h.Counts[bucket(ns)]++
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999} {
		want := all[int(math.Ceil(q*5000))-1]
		got, ok := h.Quantile(q)
		if !ok || math.Abs(got-want) > 0.07*want+1 {
			t.Errorf("quantile %v: got %v, %v; want %v", q, got, ok, want)
		}
	}
	if _, ok := h.Quantile(0.9999); ok {
		t.Error("p99.99 told from 5000 samples")
	}
	if _, ok := new(Histogram).Quantile(0.5); ok {
		t.Error("a median of nothing")
	}
}
