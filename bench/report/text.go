package report

import (
	"fmt"
	"io"
	"strings"

	"sealbay/bench"
	"sealbay/bench/stats"
)

// Text writes the result as a table for people, in colour if asked.
func Text(w io.Writer, res *bench.Result, color bool) error {
	p := &page{style: style{color}}
	p.header(res)
	for i := range res.Workloads {
		p.workload(&res.Workloads[i])
	}
	p.notes(res)
	p.sentence(res)
	_, err := io.WriteString(w, p.String())
	return err
}

// page is the report as it grows.
type page struct {
	strings.Builder
	style
}

func (p *page) line(format string, args ...any) {
	p.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// field writes "name  value", the value wrapped under itself.
func (p *page) field(name, value string) {
	for _, line := range wrap(value, 68) {
		p.line("%s %s", p.dim(fmt.Sprintf("%-10s", name)), line)
		name = ""
	}
}

func (p *page) header(res *bench.Result) {
	t, m := &res.Target, &res.Method
	p.line("%s %s", p.bold("sealbench"), res.Version)
	if res.Status != bench.Complete {
		p.line("%s", p.paint("1;33", "PARTIAL RESULT: "+res.Stopped))
	}
	p.field("host", fmt.Sprintf("%s, %d CPUs, Linux %s", res.Host.CPU, res.Host.CPUs, res.Host.Kernel))
	p.field("target", target(t))
	p.field("plain", fmt.Sprintf("O_DIRECT, engine %s, bytes %d to %d MiB of the target", t.Engine, t.Offset>>20, (t.Offset+t.Span)>>20))
	p.field("encrypted", fmt.Sprintf("the same, through %s, implementation %s", t.Cipher, t.XTS))
	p.field("method", fmt.Sprintf("%s rounds of %s s a mode after %s s of warm-up, modes in random order, seed %d",
		rounds(m), trim(m.SectionSeconds), trim(m.WarmupSeconds), m.Seed))
}

// rounds words how many rounds were asked for.
func rounds(m *bench.Method) string {
	if m.BudgetSeconds == 0 {
		return fmt.Sprint(m.Rounds)
	}
	return fmt.Sprintf("at least %d (%s)", m.Rounds, m.Ended)
}

func trim(v float64) string { return fmt.Sprintf("%.3g", v) }

func target(t *bench.Target) string {
	parts := []string{t.Path}
	kind := t.Kind
	if strings.HasPrefix(t.Path, kind) {
		kind = "" // the name says it
	}
	for _, s := range []string{kind, t.Model, t.FileSystem, t.Backing} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if t.Serial != "" {
		parts = append(parts, "serial "+t.Serial)
	}
	return strings.Join(parts, ", ")
}

// smallBlock is the size in bytes below which throughput is told in operations.
const smallBlock = 64 << 10

// The columns of the table.
const columns = "  %-9s %9s %9s  %6s  %-15s  %-7s %s"

func (p *page) workload(w *bench.Workload) {
	title := fmt.Sprintf("%s  %s, queue depth %d", w.ID, w.Name, w.Depth)
	p.line("\n%s%s", p.bold(fmt.Sprintf("%-65s", title)), p.verdict(w.Verdict, string(w.Verdict)))
	plain, enc := w.Modes[bench.Plain], w.Modes[bench.Encrypted]
	if plain == nil || enc == nil {
		p.line("  no valid round; %s", void(w))
		return
	}
	p.line("%s", p.dim(fmt.Sprintf(columns, "", "plain", "encrypted", "ratio", "95 % interval", "A/A", "line")))
	if w.BlockSize < smallBlock {
		p.row("IOPS", &plain.IOPS, &enc.IOPS, w.Throughput)
	} else {
		p.row("MB/s", &plain.MBps, &enc.MBps, w.Throughput)
	}
	p.row("p50 us", &plain.P50, &enc.P50, w.Latency)
	p.row("p99 us", plain.P99, enc.P99, w.Tail)
	p.row("p99.9 us", plain.P999, enc.P999, nil)
	p.row("p99.99 us", plain.P9999, enc.P9999, nil)
	p.row("max us", &plain.Max, &enc.Max, nil)
	p.row("CPU s/GB", &plain.CPUPerGB, &enc.CPUPerGB, nil)
	p.copying(w)
	p.stages(w)
	if text := void(w); text != "" {
		p.line("  %s", p.dim(text))
	}
}

// copying says what is left of the cost when plain copies too.
func (p *page) copying(w *bench.Workload) {
	if w.CopyThroughput == nil || w.CopyLatency == nil {
		return
	}
	for _, e := range []struct {
		name string
		*bench.Effect
	}{{"throughput", w.CopyThroughput}, {"p50", w.CopyLatency}} {
		p.line("  %-31s %.3f  %s", "over plain with a copy, "+e.name, e.Ratio, span(*e.Effect))
	}
}

// row prints a figure of both modes; one that neither has is left out.
func (p *page) row(name string, plain, enc *float64, j *bench.Judged) {
	if plain == nil && enc == nil {
		return
	}
	ratio, interval, aa, limit := "", "", "", ""
	if j != nil {
		ratio, interval, aa = fmt.Sprintf("%.3f", j.Ratio), span(j.Effect), fmt.Sprintf("%.3f", j.AA.Ratio)
		if j.AAHolds != nil && !*j.AAHolds {
			aa += " !"
		}
		limit = p.limit(j)
	}
	p.line(columns, name, optional(plain), optional(enc), ratio, interval, aa, limit)
}

func span(e bench.Effect) string {
	if e.Low == nil {
		return "too few rounds"
	}
	return fmt.Sprintf("%.3f to %.3f", *e.Low, *e.High)
}

// limit prints the line and on which side the interval lies.
func (p *page) limit(j *bench.Judged) string {
	if j.Limit == nil {
		return ""
	}
	sign := "<="
	if *j.Limit < 1 {
		sign = ">="
	}
	word := map[stats.Verdict]string{stats.Pass: "ok", stats.Fail: "no", stats.Unresolved: "?"}[j.Verdict]
	return p.verdict(j.Verdict, sign+fmt.Sprintf("%.2f ", *j.Limit)+word)
}

// void says which rounds do not count.
func void(w *bench.Workload) string {
	var parts []string
	for _, rule := range bench.VoidRules {
		if n := w.RoundsVoid[rule]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d for %s", n, rule))
		}
	}
	if parts == nil {
		return ""
	}
	return fmt.Sprintf("rounds void: %s; valid: %d", strings.Join(parts, ", "), w.RoundsValid)
}

// notes says what a reader must know to believe the table.
func (p *page) notes(res *bench.Result) {
	p.line("")
	for _, text := range Notes(res) {
		for _, line := range wrap(text, 78) {
			p.line("%s", p.dim(line))
		}
	}
}

// sentence writes the verdict in words.
func (p *page) sentence(res *bench.Result) {
	verdict, text := Sentence(res)
	p.line("")
	for _, line := range wrap(text, 78) {
		p.line("%s", p.verdict(verdict, line))
	}
}
