package report

import (
	"fmt"
	"slices"
	"strings"

	"sealbay/bench"
	"sealbay/bench/probe"
)

// The columns of the table of stages.
const stageColumns = "  %-11s %7s %7s %7s %7s %8s %7s  %s"

// stages says where the time of an operation goes, in microseconds.
func (p *page) stages(w *bench.Workload) {
	plain, enc := w.Modes[bench.PlainProbed], w.Modes[bench.EncryptedProbed]
	if plain == nil || enc == nil || plain.Probed == nil || enc.Probed == nil {
		return
	}
	a, b := plain.Probed, enc.Probed
	p.line("%s", p.dim(fmt.Sprintf("  %-11s %15s %15s %16s", "stage, us", "plain", "encrypted", "difference")))
	p.line("%s", p.dim(fmt.Sprintf(stageColumns, "", "p50", "mean", "p50", "mean", "mean", "p50", "95 %")))
	for _, name := range stageNames(a, b) {
		p.stage(name, stage(a, name), stage(b, name), difference(w, name))
	}
	p.line(stageColumns, "sum", "", micro(&a.SumUS), "", micro(&b.SumUS), "", "", "")
	p.stage(probe.EndToEnd, &a.EndToEnd, &b.EndToEnd, difference(w, probe.EndToEnd))
	p.line(stageColumns, "unexplained", "", micro(&a.UnexplainedUS), "", micro(&b.UnexplainedUS), "", "", "")
	p.line("  stages explain %.1f %% of plain's and %.1f %% of encrypted's mean", 100*a.Explained, 100*b.Explained)
	p.unmatched("plain", a)
	p.unmatched("encrypted", b)
	if c := w.ProbeCost; c != nil {
		p.line("  the probes add %s us to plain's p50", shift(&c.P50))
		p.line("  the probes add %s us to plain's mean", shift(&c.Mean))
	}
}

// stage prints one line; what a mode does not have is a dash.
func (p *page) stage(name string, a, b *probe.Distribution, d *probe.Difference) {
	cell := func(d *probe.Distribution) (string, string) {
		if d == nil {
			return "-", "-"
		}
		return micro(d.P50US), micro(&d.MeanUS)
	}
	a50, aMean := cell(a)
	b50, bMean := cell(b)
	mean, median, interval := "", "", ""
	if d != nil {
		mean = fmt.Sprintf("%+.2f", d.Mean.US)
	}
	if d != nil && d.P50 != nil {
		median = fmt.Sprintf("%+.2f", d.P50.US)
		if d.P50.Low != nil {
			interval = fmt.Sprintf("%+.2f to %+.2f", *d.P50.Low, *d.P50.High)
		}
	}
	p.line(stageColumns, name, a50, aMean, b50, bMean, mean, median, interval)
}

// unmatched says how many operations the stages do not cover, and why.
func (p *page) unmatched(mode string, s *probe.Summary) {
	if s.IOs == s.Matched {
		return
	}
	var why []string
	for name, n := range s.Unmatched {
		why = append(why, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(why)
	p.line("  %s: %d of %d operations not matched: %s", mode, s.IOs-s.Matched, s.IOs, strings.Join(why, ", "))
}

// stageNames lists the stages that either mode tells, in the order of the way.
func stageNames(a, b *probe.Summary) (names []string) {
	for _, s := range inOrder {
		if name := s.String(); stage(a, name) != nil || stage(b, name) != nil {
			names = append(names, name)
		}
	}
	return names
}

// inOrder is the way of an operation; Kernel stands for the three before it
// where they could not be told apart.
var inOrder = []probe.Stage{probe.Encrypt, probe.Submit, probe.Queue, probe.Device, probe.Complete, probe.Kernel, probe.Decrypt, probe.Reap}

func stage(s *probe.Summary, name string) *probe.Distribution {
	i := slices.IndexFunc(s.Stages, func(s probe.StageSummary) bool { return s.Stage == name })
	if i < 0 {
		return nil
	}
	return &s.Stages[i].Distribution
}

func difference(w *bench.Workload, name string) *probe.Difference {
	i := slices.IndexFunc(w.Overhead, func(d probe.Difference) bool { return d.Stage == name })
	if i < 0 {
		return nil
	}
	return &w.Overhead[i]
}

// micro prints microseconds with two decimals, which is what a stamp is worth.
func micro(us *float64) string {
	if us == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *us)
}

func shift(s *probe.Shift) string {
	text := fmt.Sprintf("%+.2f", s.US)
	if s.Low == nil {
		return text
	}
	return fmt.Sprintf("%s (%+.2f to %+.2f)", text, *s.Low, *s.High)
}
