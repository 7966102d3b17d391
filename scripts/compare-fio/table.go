package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
)

func table(w io.Writer, all []*series, seed uint64) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "job\tours\tfio\tours IOPS\tfio IOPS\tratio\t95 % interval\tspread\tours p50 us\tfio p50 us\tours CPU us\tfio CPU us\t")
	for _, s := range all {
		ratios := s.ratios()
		low, high := interval(ratios, seed)
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f\t%.0f\t%.3f\t%.3f to %.3f\t%.3f to %.3f\t%.1f\t%.1f\t%.1f\t%.1f\t\n",
			s.name, s.pair.ours, s.pair.fio, median(field(s.ours, iops)), median(field(s.fio, iops)),
			median(ratios), low, high, slices.Min(ratios), slices.Max(ratios),
			median(field(s.ours, p50)), median(field(s.fio, p50)),
			median(field(s.ours, cpu)), median(field(s.fio, cpu)))
	}
	_ = t.Flush() // the terminal is gone: nobody to tell
}

func iops(s sample) float64 { return s.iops }
func p50(s sample) float64  { return s.p50 }
func cpu(s sample) float64  { return s.cpu }

func field(list []sample, of func(sample) float64) []float64 {
	out := make([]float64, len(list))
	for i, s := range list {
		out[i] = of(s)
	}
	return out
}

// ratios are ours over fio's IOPS within each round.
func (s *series) ratios() []float64 {
	out := make([]float64, len(s.ours))
	for i := range out {
		out[i] = s.ours[i].iops / s.fio[i].iops
	}
	return out
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// interval is the percentile bootstrap of the median over rounds.
func interval(v []float64, seed uint64) (low, high float64) {
	const resamples = 10000
	rng := rand.New(rand.NewPCG(seed, 1))
	medians, draw := make([]float64, resamples), make([]float64, len(v))
	for i := range medians {
		for j := range draw {
			draw[j] = v[rng.IntN(len(v))]
		}
		medians[i] = median(draw)
	}
	slices.Sort(medians)
	return medians[resamples*25/1000], medians[resamples*975/1000]
}
