package bench

import (
	"fmt"

	"sealbay/bench/probe"
	"sealbay/bench/stats"
	"sealbay/bench/workload"
)

// The lines that the claim about the cost of encryption draws: reads lose at
// most 5 % of throughput and gain at most 5 % of latency, writes 10 %.
const (
	readLine  = 0.05
	writeLine = 0.10
)

func line(w workload.Workload) float64 {
	if w.Reads == 100 {
		return readLine
	}
	return writeLine
}

const us = 1e-3 // microseconds in a nanosecond

// sample describes a section that ran.
func sample(out workload.Outcome, hist *stats.Hist, passed meter) (*Sample, error) {
	text, err := hist.Encode()
	if err != nil {
		return nil, err
	}
	s := &Sample{
		Ops: out.Ops, Bytes: out.Bytes, Seconds: out.Elapsed.Seconds(),
		Max: float64(hist.Max()) * us, Mean: hist.Mean() * us, P99: micros(hist, 0.99),
		CPU: out.CPU.Seconds(), GCCycles: out.GC.Cycles, GCPause: float64(out.GC.Pause) * us,
		Stages: out.Stages, Histogram: text,
	}
	p50 := micros(hist, 0.5)
	if p50 == nil {
		return nil, fmt.Errorf("no operation was completed in %v", out.Elapsed)
	}
	s.P50 = *p50
	s.MBps, s.IOPS = float64(s.Bytes)/1e6/s.Seconds, float64(s.Ops)/s.Seconds
	if share, ok := passed.stolen(); ok {
		s.Steal = &share
	}
	return s, nil
}

// micros returns a quantile in microseconds, nil where there are too few
// samples.
func micros(h *stats.Hist, q float64) *float64 {
	ns, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	v := float64(ns) * us
	return &v
}

// analyse fills in what follows from the rounds.
func analyse(res *Result) error {
	for i := range res.Workloads {
		w := &res.Workloads[i]
		valid := w.valid()
		w.RoundsValid = len(valid)
		for _, r := range w.Rounds {
			if r.Void != "" {
				w.RoundsVoid[r.Void]++
			}
		}
		if len(valid) == 0 {
			continue
		}
		for name := range valid[0].Modes {
			m, err := pool(valid, name)
			if err != nil {
				return fmt.Errorf("%s: %w", w.ID, err)
			}
			if rec := w.recorders[name]; rec != nil {
				sum := rec.Summary()
				m.Probed = &sum
			}
			w.Modes[name] = m
		}
		w.compare(valid, res.Method.Seed)
		if res.Probes != nil {
			w.overhead(valid, res.Probes.Missing == "")
		}
		res.NoisyHost = res.NoisyHost || w.Verdict == stats.NoisyHost
	}
	return nil
}

// valid returns the rounds that no rule has voided.
func (w *Workload) valid() (valid []Round) {
	for _, r := range w.Rounds {
		if r.Void == "" {
			valid = append(valid, r)
		}
	}
	return valid
}

// compare fills in ratios and verdicts.
func (w *Workload) compare(valid []Round, seed uint64) {
	limit := line(w.Workload)
	w.Throughput = judged(valid, mbps, seed, &stats.Line{Limit: 1 - limit, Least: true})
	w.Latency = judged(valid, p50, seed, &stats.Line{Limit: 1 + limit})
	w.Tail = judged(valid, p99, seed, nil)
	w.Ratio, w.Low, w.High = &w.Throughput.Ratio, w.Throughput.Low, w.Throughput.High
	w.Verdict = stats.Both(w.Throughput.Verdict, w.Latency.Verdict)
	if !*w.Throughput.AAHolds || !*w.Latency.AAHolds {
		w.Verdict = stats.NoisyHost
	}
	if w.Modes[PlainCopy] != nil {
		w.CopyThroughput, w.CopyLatency = versus(valid, mbps, seed, PlainCopy), versus(valid, p50, seed, PlainCopy)
	}
}

// A figure is one of a sample's; nil where it could not be told.
type figure func(*Sample) *float64

func mbps(s *Sample) *float64 { return &s.MBps }
func p50(s *Sample) *float64  { return &s.P50 }
func p99(s *Sample) *float64  { return s.P99 }

// paired returns a figure of two modes, round by round; false where a round
// lacks it.
func paired(valid []Round, f figure, over, under string) (a, b []float64, ok bool) {
	for _, r := range valid {
		x, y := f(r.Modes[over]), f(r.Modes[under])
		if x == nil || y == nil {
			return nil, nil, false
		}
		a, b = append(a, *x), append(b, *y)
	}
	return a, b, true
}

// judged compares a figure of encrypted and plain, and of plain with itself;
// nil where a round lacks it.
func judged(valid []Round, f figure, seed uint64, l *stats.Line) *Judged {
	enc, plain, ok := paired(valid, f, Encrypted, Plain)
	again, _, okAgain := paired(valid, f, PlainAgain, Plain)
	if !ok || !okAgain {
		return nil
	}
	effect, aa := stats.Compare(enc, plain, seed), stats.Compare(again, plain, seed)
	j := &Judged{Effect: effectOf(effect), AA: effectOf(aa)}
	if l != nil {
		holds := stats.Holds(aa)
		j.Limit, j.Verdict, j.AAHolds = &l.Limit, l.Judge(effect), &holds
	}
	return j
}

// versus compares a figure of encrypted and another mode, without judging.
func versus(valid []Round, f figure, seed uint64, under string) *Effect {
	a, b, ok := paired(valid, f, Encrypted, under)
	if !ok {
		return nil
	}
	e := effectOf(stats.Compare(a, b, seed))
	return &e
}

// overhead fills in where encryption's time goes, and what knowing it costs.
func (w *Workload) overhead(valid []Round, kernel bool) {
	var enc, plain []probe.Summary
	for _, r := range valid {
		enc, plain = append(enc, *r.Modes[EncryptedProbed].Probed), append(plain, *r.Modes[PlainProbed].Probed)
	}
	w.Overhead = probe.Differences(enc, plain)
	if kernel {
		w.ProbeCost = &ProbeCost{
			Mean: shift(valid, func(s *Sample) *float64 { return &s.Mean }),
			P50:  shift(valid, p50),
		}
	}
}

// shift is plain_probed minus plain.
func shift(valid []Round, f figure) probe.Shift {
	on, off, _ := paired(valid, f, PlainProbed, Plain) // figures that every sample has
	return probe.NewShift(on, off)
}

func effectOf(e stats.Effect) Effect {
	out := Effect{Ratio: e.Ratio}
	if e.CI != nil {
		out.Low, out.High = &e.CI.Low, &e.CI.High
	}
	return out
}
