package bench

import (
	"fmt"

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
func sample(out workload.Outcome, hist *stats.Hist, passed jiffies) (*Sample, error) {
	text, err := hist.Encode()
	if err != nil {
		return nil, err
	}
	s := &Sample{
		Ops: out.Ops, Bytes: out.Bytes, Seconds: out.Elapsed.Seconds(),
		Max: float64(hist.Max()) * us, P99: micros(hist, 0.99),
		CPU: out.CPU.Seconds(), GCCycles: out.GC.Cycles, GCPause: float64(out.GC.Pause) * us,
		Stages: out.Stages, Histogram: text,
	}
	p50 := micros(hist, 0.5)
	if p50 == nil {
		return nil, fmt.Errorf("no operation was completed in %v", out.Elapsed)
	}
	s.P50 = *p50
	s.MBps, s.IOPS = float64(s.Bytes)/1e6/s.Seconds, float64(s.Ops)/s.Seconds
	if share, ok := passed.share(); ok {
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
		valid := w.count()
		if len(valid) == 0 {
			continue
		}
		for _, name := range []string{Plain, PlainAgain, Encrypted} {
			m, err := pool(valid, name)
			if err != nil {
				return fmt.Errorf("%s: %w", w.ID, err)
			}
			w.Modes[name] = m
		}
		w.compare(valid, res.Method.Seed)
		res.NoisyHost = res.NoisyHost || w.Verdict == stats.NoisyHost
	}
	return nil
}

// count sorts the rounds into valid and void ones.
func (w *Workload) count() (valid []Round) {
	for _, r := range w.Rounds {
		if r.Void == "" {
			valid = append(valid, r)
		} else {
			w.RoundsVoid[r.Void]++
		}
	}
	w.RoundsValid = len(valid)
	return valid
}

// compare fills in ratios and verdicts.
func (w *Workload) compare(valid []Round, seed uint64) {
	limit := line(w.Workload)
	mbps := func(s *Sample) *float64 { return &s.MBps }
	p50 := func(s *Sample) *float64 { return &s.P50 }
	p99 := func(s *Sample) *float64 { return s.P99 }
	w.Throughput = judged(valid, mbps, seed, &stats.Line{Limit: 1 - limit, Least: true})
	w.Latency = judged(valid, p50, seed, &stats.Line{Limit: 1 + limit})
	w.Tail = judged(valid, p99, seed, nil)
	w.Ratio, w.Low, w.High = &w.Throughput.Ratio, w.Throughput.Low, w.Throughput.High
	w.Verdict = stats.Both(w.Throughput.Verdict, w.Latency.Verdict)
	if !*w.Throughput.AAHolds || !*w.Latency.AAHolds {
		w.Verdict = stats.NoisyHost
	}
}

// judged compares one figure of the rounds; nil where a round lacks it.
func judged(valid []Round, figure func(*Sample) *float64, seed uint64, l *stats.Line) *Judged {
	var enc, plain, again []float64
	for _, r := range valid {
		e, p, a := figure(r.Modes[Encrypted]), figure(r.Modes[Plain]), figure(r.Modes[PlainAgain])
		if e == nil || p == nil || a == nil {
			return nil
		}
		enc, plain, again = append(enc, *e), append(plain, *p), append(again, *a)
	}
	effect, aa := stats.Compare(enc, plain, seed), stats.Compare(again, plain, seed)
	j := &Judged{Effect: effectOf(effect), AA: effectOf(aa)}
	if l != nil {
		holds := stats.Holds(aa)
		j.Limit, j.Verdict, j.AAHolds = &l.Limit, l.Judge(effect), &holds
	}
	return j
}

func effectOf(e stats.Effect) Effect {
	out := Effect{Ratio: e.Ratio}
	if e.CI != nil {
		out.Low, out.High = &e.CI.Low, &e.CI.High
	}
	return out
}
