package stats

import (
	"math"
	"slices"
)

// Shift returns the median over rounds of the difference over[i]-under[i]
// within the round: what one mode takes longer than another. A round that
// something else disturbed moves it little. It panics when there is no pair, or
// one without its other half.
//
// The interval holds the median of the differences with at least Level,
// whatever their distribution (the interval of the sign test: from one order
// statistic to its mirror image; Conover, Practical Nonparametric Statistics,
// 3.2). It is nil with fewer than six rounds, which cannot give that level.
func Shift(over, under []float64) (float64, *Interval) {
	if len(over) != len(under) || len(over) == 0 {
		panic("stats: difference of unpaired rounds")
	}
	diffs := make([]float64, len(over))
	for i := range over {
		diffs[i] = over[i] - under[i]
	}
	slices.Sort(diffs)
	n := len(diffs)
	median := (diffs[(n-1)/2] + diffs[n/2]) / 2
	k := signRank(n)
	if k < 0 {
		return median, nil
	}
	return median, &Interval{Low: diffs[k], High: diffs[n-1-k]}
}

// signRank returns the largest k for which the interval from the k-th to the
// mirrored order statistic, counted from 0, holds the median of n values with
// at least Level; -1 where there is none. It misses when at most k of n fair
// coins fall on one side.
func signRank(n int) int {
	if n > 1000 { // 0.5^n leaves what a float64 holds; the normal form is exact enough
		return int(float64(n)/2-probit((1+Level)/2)*math.Sqrt(float64(n))/2) - 1
	}
	tail, term := 0.0, 1.0 // of n choose i, over 2^n
	for range n {
		term /= 2
	}
	for i := 0; ; i++ {
		tail += term
		if 2*tail > 1-Level {
			return i - 1
		}
		term *= float64(n-i) / float64(i+1)
	}
}
