package livecmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sealbay/bench/probe"
)

// How the command prints. All of it stands here.
//
//   - On a terminal one display is redrawn in place; it stays when the
//     command ends. No colours, so NO_COLOR has nothing to forbid.
//   - Elsewhere every interval is one line per kind of request, and the whole
//     display follows at the end.
//   - Times are microseconds. A percentile that has no sample beyond it is "-".

// view is what there is to show at one moment.
type view struct {
	whole, recent     probe.Snapshot // since the start, and since the last view
	elapsed, interval time.Duration
	ended             bool
}

type screen struct {
	w        io.Writer
	device   string
	requests bool
	terminal bool
	lines    int // on display, to be drawn over
	err      error
}

func (s *screen) show(v view) {
	switch {
	case s.terminal:
		text := s.display(v)
		back := ""
		if s.lines > 0 {
			back = fmt.Sprintf("\x1b[%dA\x1b[J", s.lines)
		}
		s.lines = strings.Count(text, "\n")
		s.print(back + text)
	case v.ended:
		s.print(s.display(v))
	default:
		s.print(s.line(v))
	}
}

func (s *screen) print(text string) {
	if _, err := io.WriteString(s.w, text); err != nil && s.err == nil {
		s.err = err
	}
}

// line tells what the interval brought.
func (s *screen) line(v view) string {
	var b strings.Builder
	for op := range probe.LiveOps {
		dev := &v.recent.Histograms[probe.LiveDevice][op]
		if dev.Count == 0 {
			continue
		}
		fmt.Fprintf(&b, "%4.0fs %-7s %8.0f/s", v.elapsed.Seconds(), op, float64(dev.Count)/v.interval.Seconds())
		for stage := range probe.LiveStages {
			if h := &v.recent.Histograms[stage][op]; h.Count > 0 {
				fmt.Fprintf(&b, "  %s p50 %s p99 %s us", stage, quantile(h, 0.5), quantile(h, 0.99))
			}
		}
		b.WriteByte('\n')
	}
	if b.Len() == 0 {
		return fmt.Sprintf("%4.0fs no I/O on %s\n", v.elapsed.Seconds(), s.device)
	}
	return b.String()
}

// display is the table and the histograms since the start.
func (s *screen) display(v view) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %.0f s%s\n\n", s.device, v.elapsed.Seconds(), s.hint(v))
	fmt.Fprintf(&b, "%-15s %10s %9s %9s %9s %9s %9s %9s %9s\n", "us", "I/Os", "per s", "mean", "p50", "p90", "p99", "p99.9", "max")
	some := false
	for op := range probe.LiveOps {
		for stage := range probe.LiveStages {
			if h := &v.whole.Histograms[stage][op]; h.Count > 0 {
				some = true
				s.row(&b, op, stage, h, &v.recent.Histograms[stage][op], v)
			}
		}
	}
	if !some {
		b.WriteString("no I/O so far\n")
	}
	for op := range probe.LiveOps {
		if h := &v.whole.Histograms[probe.LiveDevice][op]; h.Count > 0 {
			fmt.Fprintf(&b, "\n%s, device\n%s", op, bars(h))
		}
	}
	if v.whole.Unmatched > 0 {
		fmt.Fprintf(&b, "\nunmatched: %d (beginning not seen)\n", v.whole.Unmatched)
	}
	return b.String()
}

func (s *screen) hint(v view) string {
	text := ""
	if !s.requests {
		text = " (takes bios and makes no requests: no queue stage)"
	}
	if !v.ended {
		text += ", Ctrl-C ends"
	}
	return text
}

func (s *screen) row(b *strings.Builder, op probe.LiveOp, stage probe.LiveStage, h, recent *probe.Histogram, v view) {
	rate := float64(recent.Count) / v.interval.Seconds()
	if v.ended {
		rate = float64(h.Count) / v.elapsed.Seconds()
	}
	fmt.Fprintf(b, "%-7s %-7s %10d %9.0f %9.2f %9s %9s %9s %9s %9.2f\n", op, stage, h.Count, rate, h.Mean()/1e3,
		quantile(h, 0.5), quantile(h, 0.9), quantile(h, 0.99), quantile(h, 0.999), float64(h.Max)/1e3)
}

func quantile(h *probe.Histogram, q float64) string {
	ns, ok := h.Quantile(q)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f", ns/1e3)
}

// barWidth is the length of the longest bar.
const barWidth = 50

// bars draws a histogram, a row to each power of two between the first and
// the last that holds anything.
func bars(h *probe.Histogram) string {
	rows, from := powers(h)
	var most uint64
	for _, n := range rows {
		most = max(most, n)
	}
	var b strings.Builder
	for i, n := range rows {
		low := uint64(1) << (from + i)
		bar := strings.Repeat("#", int((n*barWidth+most-1)/most))
		fmt.Fprintf(&b, "%9s - %-9s |%-*s| %6.2f %%\n", duration(low), duration(2*low), barWidth, bar, 100*float64(n)/float64(h.Count))
	}
	return b.String()
}

// powers sums the buckets up by power of two; from is the first one's.
func powers(h *probe.Histogram) (rows []uint64, from int) {
	var sums [64]uint64
	first, last := len(sums), 0
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		low, _ := probe.Bounds(i)
		p := 0
		for low>>p > 1 {
			p++
		}
		sums[p] += n
		first, last = min(first, p), max(last, p)
	}
	return sums[first : last+1], first
}

func duration(ns uint64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%d ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f us", float64(ns)/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.1f ms", float64(ns)/1e6)
	}
	return fmt.Sprintf("%.1f s", float64(ns)/1e9)
}
