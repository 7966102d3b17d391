package bench

import (
	"sealbay/bench/stats"
	"sealbay/bench/workload"
)

// pool takes all valid rounds of one mode together.
func pool(rounds []Round, name string) (*Mode, error) {
	m, all, stages := &Mode{}, stats.NewHist(), workload.Stages{}
	var bytes, ops int64
	var cpu float64
	for _, r := range rounds {
		s := r.Modes[name]
		h, err := stats.Decode(s.Histogram)
		if err != nil {
			return nil, err
		}
		all.Merge(h)
		bytes, ops, m.Seconds, cpu = bytes+s.Bytes, ops+s.Ops, m.Seconds+s.Seconds, cpu+s.CPU
		m.GCCycles, m.GCPause, m.Max = m.GCCycles+s.GCCycles, m.GCPause+s.GCPause, max(m.Max, s.Max)
		stages.Merge(s.Stages)
	}
	m.Samples, m.Mean = all.Count(), all.Mean()*us
	m.MBps, m.IOPS = float64(bytes)/1e6/m.Seconds, float64(ops)/m.Seconds
	m.CPUPerGB = cpu / (float64(bytes) / 1e9)
	m.percentiles(all)
	m.Stages = stagesOf(stages, ops, m.Mean)
	return m, nil
}

func (m *Mode) percentiles(all *stats.Hist) {
	m.P50 = *micros(all, 0.5) // is there: each round had it, or it would be no sample
	for _, p := range []struct {
		name string
		q    float64
		to   **float64
	}{{"p90", 0.9, &m.P90}, {"p99", 0.99, &m.P99}, {"p99.9", 0.999, &m.P999}, {"p99.99", 0.9999, &m.P9999}} {
		if *p.to = micros(all, p.q); *p.to == nil {
			m.TooFew = append(m.TooFew, p.name)
		}
	}
}

// stagesOf turns sums into means; nil where no operation was stamped whole.
func stagesOf(s workload.Stages, ops int64, mean float64) *Stages {
	if s.Stamped == 0 {
		return nil
	}
	each := func(sum int64) float64 { return float64(sum) * us / float64(s.Stamped) }
	out := &Stages{Submit: each(s.Submit), Device: each(s.Device), Reap: each(s.Reap),
		EndToEnd: mean, Unstamped: ops - s.Stamped}
	if s.Encrypt > 0 {
		v := each(s.Encrypt)
		out.Encrypt = &v
	}
	if s.Decrypt > 0 {
		v := each(s.Decrypt)
		out.Decrypt = &v
	}
	out.Sum = each(s.Encrypt + s.Submit + s.Device + s.Decrypt + s.Reap)
	return out
}
