package main

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
)

// summary sets a stage against the first one, round by round.
type summary struct {
	Stage     string   `json:"stage"`
	Over      string   `json:"over"`
	IOPSRatio estimate `json:"iops_ratio"`
	P50More   estimate `json:"p50_us_more"`
	CPUMore   estimate `json:"cpu_us_per_io_more"`
}

// estimate is the median over rounds with a 95 % bootstrap interval.
type estimate struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func summarize(staged []stage, out *json.Encoder) {
	first := staged[0]
	for _, s := range staged[1:] {
		by := func(of func(mine, base result) float64) estimate {
			var v []float64
			for i := range min(len(s.runs), len(first.runs)) {
				v = append(v, of(s.runs[i], first.runs[i]))
			}
			return over(v)
		}
		_ = out.Encode(summary{ // the reader is gone: nobody to tell
			Stage: s.name, Over: first.name,
			IOPSRatio: by(func(m, b result) float64 { return m.IOPS / b.IOPS }),
			P50More:   by(func(m, b result) float64 { return m.P50 - b.P50 }),
			CPUMore:   by(func(m, b result) float64 { return m.CPU - b.CPU }),
		})
	}
}

func over(v []float64) estimate {
	const resamples = 2000
	rng := rand.New(rand.NewPCG(1, 1))
	medians, draw := make([]float64, resamples), make([]float64, len(v))
	for i := range medians {
		for j := range draw {
			draw[j] = v[rng.IntN(len(v))]
		}
		medians[i] = median(draw)
	}
	slices.Sort(medians)
	return estimate{median(v), medians[resamples*25/1000], medians[resamples*975/1000]}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
