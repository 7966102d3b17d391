package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestShift(t *testing.T) {
	// The level drifts by more than the difference, and one round is spoilt.
	under := []float64{10, 20, 30, 40, 50, 60, 70}
	over := []float64{10.5, 20.7, 30.6, 40.4, 50.6, 900, 70.8}
	got, ci := Shift(over, under)
	if math.Abs(got-0.6) > 1e-9 || ci == nil || math.Abs(ci.Low-0.4) > 1e-9 || math.Abs(ci.High-840) > 1e-9 {
		t.Errorf("got %v, %v; want 0.6, 0.4 to 840", got, ci)
	}
	if got, ci := Shift(over[:2], under[:2]); math.Abs(got-0.6) > 1e-9 || ci != nil {
		t.Errorf("two rounds: got %v, %v; want 0.6 without an interval", got, ci)
	}
}

// The published ranks of the 95 % interval of the median, from 1 (Conover,
// table A3; also Hollander and Wolfe).
func TestSignRank(t *testing.T) {
	for n, want := range map[int]int{5: 0, 6: 1, 8: 1, 9: 2, 12: 3, 15: 4, 20: 6, 25: 8, 30: 10, 50: 18, 100: 40} {
		if got := signRank(n) + 1; got != want {
			t.Errorf("n %d: rank %d, want %d", n, got, want)
		}
	}
	if a, b := signRank(1000), signRank(1001); b < a || b > a+1 {
		t.Errorf("ranks of 1000 and 1001: %d and %d", a, b)
	}
	if k := signRank(60_000); k != 29_758 {
		t.Errorf("n 60000: rank %d, want 30000 - 1.96 sqrt(15000) - 1", k)
	}
}

func TestShiftCoverage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const tries = 4000
	held := 0
	zero := make([]float64, 20)
	for range tries {
		x := make([]float64, 20)
		for i := range x {
			x[i] = math.Exp(rng.NormFloat64()) - 1 // skewed, its median is 0
		}
		if _, ci := Shift(x, zero); ci.Contains(0) {
			held++
		}
	}
	// By the binomial distribution the interval holds in 95.9 % of cases.
	if share := float64(held) / tries; share < 0.945 || share > 0.972 {
		t.Errorf("the interval held the median in %.1f %% of cases, want 95.9 %%", 100*share)
	}
}
