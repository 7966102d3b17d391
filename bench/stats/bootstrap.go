package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Resamples is how many bootstrap resamples an interval is made of.
const Resamples = 10_000

// Level is the confidence level of every interval in a report.
const Level = 0.95

// Interval is a confidence interval.
type Interval struct{ Low, High float64 }

// Contains reports whether v lies inside, ends included.
func (i Interval) Contains(v float64) bool { return i.Low <= v && v <= i.High }

// HalfWidth returns half the interval's width.
func (i Interval) HalfWidth() float64 { return (i.High - i.Low) / 2 }

// Mean returns the arithmetic mean of x.
func Mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// BCa returns the bias-corrected and accelerated bootstrap interval of stat
// over x (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
// section 14.3). It panics with fewer than two values: there is no interval.
func BCa(x []float64, stat func([]float64) float64, level float64, resamples int, rng *rand.Rand) Interval {
	if len(x) < 2 {
		panic("stats: bootstrap of fewer than two values")
	}
	theta := stat(x)
	boot := resample(x, stat, resamples, rng)
	z0, a := bias(boot, theta), acceleration(x, stat)
	tail := (1 - level) / 2
	return Interval{
		Low:  quantile(boot, adjusted(tail, z0, a)),
		High: quantile(boot, adjusted(1-tail, z0, a)),
	}
}

// resample returns stat of n samples drawn from x with replacement, sorted.
func resample(x []float64, stat func([]float64) float64, n int, rng *rand.Rand) []float64 {
	boot := make([]float64, n)
	draw := make([]float64, len(x))
	for i := range boot {
		for j := range draw {
			draw[j] = x[rng.IntN(len(x))]
		}
		boot[i] = stat(draw)
	}
	slices.Sort(boot)
	return boot
}

// bias is z0: how far the median of the resamples lies from theta, in normal
// deviates (14.14). Ties count half, and the share is kept half a resample
// away from 0 and 1 so that the result is finite.
func bias(sorted []float64, theta float64) float64 {
	below, _ := slices.BinarySearch(sorted, theta)
	upTo, _ := slices.BinarySearchFunc(sorted, theta, func(v, t float64) int {
		if v <= t {
			return -1
		}
		return 1
	})
	n := float64(len(sorted))
	share := (float64(below) + float64(upTo)) / 2 / n
	return probit(min(max(share, 0.5/n), 1-0.5/n))
}

// acceleration is a-hat from the jackknife (14.15): how fast the standard
// error of the statistic changes with its value.
func acceleration(x []float64, stat func([]float64) float64) float64 {
	jack := make([]float64, len(x))
	rest := make([]float64, 0, len(x)-1)
	for i := range x {
		rest = append(append(rest[:0], x[:i]...), x[i+1:]...)
		jack[i] = stat(rest)
	}
	mean, square, cube := Mean(jack), 0.0, 0.0
	for _, v := range jack {
		d := mean - v
		square += d * d
		cube += d * d * d
	}
	if square == 0 {
		return 0
	}
	return cube / (6 * math.Pow(square, 1.5))
}

// adjusted is the share of the resamples at which the interval's end stands
// (14.10).
func adjusted(p, z0, a float64) float64 {
	z := z0 + probit(p)
	return phi(z0 + z/(1-a*z))
}

// quantile returns the p-quantile of sorted values, interpolated.
func quantile(sorted []float64, p float64) float64 {
	at := p*float64(len(sorted)+1) - 1
	if at <= 0 {
		return sorted[0]
	}
	if at >= float64(len(sorted)-1) {
		return sorted[len(sorted)-1]
	}
	i := int(at)
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// phi is the standard normal distribution function, probit its inverse.
func phi(z float64) float64    { return math.Erfc(-z/math.Sqrt2) / 2 }
func probit(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
