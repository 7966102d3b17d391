package probe

import (
	"sealbay/bench/stats"
)

// Summary is what a Recorder held: a value for reports.
type Summary struct {
	IOs       int64            `json:"ios"`
	Matched   int64            `json:"matched"`   // their stages are told below
	Unmatched map[string]int64 `json:"unmatched"` // by Fault, only those that occurred
	EndToEnd  Distribution     `json:"end_to_end"`
	Stages    []StageSummary   `json:"stages"` // in order, those that an I/O can pass
	// SumUS is the sum of the stages' means, over matched I/Os. Percentiles
	// of stages do not add up and are not summed.
	SumUS float64 `json:"stages_sum_us"`
	// UnexplainedUS is the end-to-end mean, over all I/Os, less SumUS.
	UnexplainedUS float64 `json:"unexplained_us"`
	// Explained is SumUS over the end-to-end mean.
	Explained float64 `json:"explained_share"`
}

// StageSummary is the distribution of one stage over matched I/Os.
type StageSummary struct {
	Stage string `json:"stage"`
	Distribution
}

// Distribution is told in microseconds; nil where there are too few samples.
type Distribution struct {
	MeanUS float64  `json:"mean_us"`
	P50US  *float64 `json:"p50_us"`
	P90US  *float64 `json:"p90_us"`
	P99US  *float64 `json:"p99_us"`
	P999US *float64 `json:"p99_9_us"`
}

// Summary sums up what was recorded.
func (r *Recorder) Summary() Summary {
	s := Summary{IOs: r.endToEnd.hist.Count(), Matched: int64(r.faults[NoFault]), Unmatched: map[string]int64{}}
	for f := NoFault + 1; f < numFaults; f++ {
		if n := r.faults[f]; n > 0 {
			s.Unmatched[f.String()] = int64(n)
		}
	}
	s.EndToEnd = r.endToEnd.distribution()
	for stage := range NumStages {
		if !r.tells(stage) {
			continue
		}
		d := r.stages[stage].distribution()
		s.SumUS += d.MeanUS
		s.Stages = append(s.Stages, StageSummary{stage.String(), d})
	}
	s.UnexplainedUS = s.EndToEnd.MeanUS - s.SumUS
	if s.EndToEnd.MeanUS > 0 {
		s.Explained = s.SumUS / s.EndToEnd.MeanUS
	}
	return s
}

// tells reports whether the recorder's source can see a stage at all.
func (r *Recorder) tells(s Stage) bool {
	whole := r.stages[Kernel].sum > 0
	switch s {
	case Kernel:
		return whole
	case Device, Complete:
		return !whole
	case Queue:
		return !whole && (r.p == nil || r.p.HasRequests())
	}
	return true
}

func (t *tally) distribution() Distribution {
	n := t.hist.Count()
	if n == 0 {
		return Distribution{}
	}
	return Distribution{
		MeanUS: float64(t.sum) / float64(n) / 1e3,
		P50US:  quantile(t.hist, 0.5), P90US: quantile(t.hist, 0.9),
		P99US: quantile(t.hist, 0.99), P999US: quantile(t.hist, 0.999),
	}
}

func quantile(h *stats.Hist, q float64) *float64 {
	ns, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	us := float64(ns) / 1e3
	return &us
}

// Difference is what a stage takes longer in one mode than in another.
type Difference struct {
	Stage string `json:"stage"` // or "end to end"
	Mean  Shift  `json:"mean"`
	P50   *Shift `json:"p50"`
	P90   *Shift `json:"p90"`
	P99   *Shift `json:"p99"`
	P999  *Shift `json:"p99_9"`
}

// Shift is a difference in microseconds, the median over rounds of the
// difference within the round, with its interval (stats.Shift); nil with too
// few rounds.
type Shift struct {
	US   float64  `json:"us"`
	Low  *float64 `json:"ci_low"`
	High *float64 `json:"ci_high"`
}

// NewShift pairs the figures of two modes by round.
func NewShift(over, under []float64) Shift {
	us, ci := stats.Shift(over, under)
	if ci == nil {
		return Shift{US: us}
	}
	return Shift{us, &ci.Low, &ci.High}
}

// EndToEnd is the name of the whole among Differences.
const EndToEnd = "end to end"

// Differences pairs the summaries of two modes by round, over[i] and under[i],
// and returns the difference by stage, the whole last: with encrypted over
// plain, where encryption's time goes. A figure that a round cannot tell is
// left out for all.
func Differences(over, under []Summary) []Difference {
	if len(over) != len(under) {
		panic("probe: differences of unpaired rounds")
	}
	var out []Difference
	for s := range NumStages {
		name := s.String()
		at := func(s Summary) *Distribution { return s.stage(name) }
		if d, ok := difference(name, over, under, at); ok {
			out = append(out, d)
		}
	}
	whole := func(s Summary) *Distribution { return &s.EndToEnd }
	if d, ok := difference(EndToEnd, over, under, whole); ok {
		out = append(out, d)
	}
	return out
}

// stage returns the distribution of a stage, nil where it is not told.
func (s Summary) stage(name string) *Distribution {
	for i := range s.Stages {
		if s.Stages[i].Stage == name {
			return &s.Stages[i].Distribution
		}
	}
	return nil
}

func difference(name string, over, under []Summary, at func(Summary) *Distribution) (Difference, bool) {
	shift := func(figure func(*Distribution) *float64) *Shift {
		var a, b []float64
		for i := range over {
			x, y := at(over[i]), at(under[i])
			if x == nil || y == nil || figure(x) == nil || figure(y) == nil {
				return nil
			}
			a, b = append(a, *figure(x)), append(b, *figure(y))
		}
		if len(a) == 0 {
			return nil
		}
		s := NewShift(a, b)
		return &s
	}
	mean := shift(func(d *Distribution) *float64 { return &d.MeanUS })
	if mean == nil {
		return Difference{}, false
	}
	return Difference{
		Stage: name, Mean: *mean,
		P50:  shift(func(d *Distribution) *float64 { return d.P50US }),
		P90:  shift(func(d *Distribution) *float64 { return d.P90US }),
		P99:  shift(func(d *Distribution) *float64 { return d.P99US }),
		P999: shift(func(d *Distribution) *float64 { return d.P999US }),
	}, true
}
