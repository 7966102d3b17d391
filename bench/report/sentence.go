package report

import (
	"fmt"
	"strings"

	"sealbay/bench"
	"sealbay/bench/stats"
)

// headlineRounds is how many rounds a figure needs before it is quoted.
const headlineRounds = 20

// Sentence returns the verdict on the whole run, and says it in words: NOISY
// HOST if any workload's control failed, else FAIL if any fails, PASS if all
// pass.
func Sentence(res *bench.Result) (stats.Verdict, string) {
	by := map[stats.Verdict][]string{}
	for i := range res.Workloads {
		w := &res.Workloads[i]
		by[w.Verdict] = append(by[w.Verdict], describe(w))
	}
	verdict, text := overall(by, len(res.Workloads))
	if res.Host.Emulated {
		text += " The processor is emulated in software: this says nothing of a real one."
	}
	if res.Status != bench.Complete {
		return verdict, fmt.Sprintf("PARTIAL RESULT (%s): %s", res.Stopped, text)
	}
	return verdict, text
}

func overall(by map[stats.Verdict][]string, all int) (stats.Verdict, string) {
	list := func(v stats.Verdict) string { return strings.Join(by[v], "; ") }
	switch {
	case len(by[stats.NoisyHost]) > 0:
		return stats.NoisyHost, "NOISY HOST: plain against itself did not hold 1.0, no verdict for " + list(stats.NoisyHost) +
			". Quieten the machine or run more rounds." + alsoFailed(by)
	case len(by[stats.Fail]) > 0:
		return stats.Fail, "FAIL: encryption costs more than 5 % of reads or 10 % of writes in " + list(stats.Fail) + "."
	case len(by[stats.Unresolved]) > 0:
		return stats.Unresolved, "UNRESOLVED: more rounds must tell on which side of the line lies " + list(stats.Unresolved) + "."
	}
	return stats.Pass, fmt.Sprintf("PASS: encryption costs at most 5 %% of reads and 10 %% of writes, in throughput and in median latency, in %s.", "all of "+plural(all, "workload"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func alsoFailed(by map[stats.Verdict][]string) string {
	if len(by[stats.Fail]) == 0 {
		return ""
	}
	return " Outside the line: " + strings.Join(by[stats.Fail], "; ") + "."
}

// describe names a workload with its headline: "W1 (throughput 0.93, latency 1.08)".
func describe(w *bench.Workload) string {
	if w.Throughput == nil {
		return w.ID + " (no valid round)"
	}
	few := ""
	if w.Low == nil {
		few = fmt.Sprintf(", only %d valid rounds", w.RoundsValid)
	}
	return fmt.Sprintf("%s (throughput %.2f, latency %.2f%s)", w.ID, w.Throughput.Ratio, w.Latency.Ratio, few)
}

// Notes says what a reader must know to believe the figures.
func Notes(res *bench.Result) []string {
	out := []string{
		"ratio: encrypted over plain within the round, geometric mean over rounds; A/A: plain over itself, " +
			"which must be 1.0 (! where it is not). Reads were verified; no plaintext in " +
			fmt.Sprintf("%d MiB searched on the raw target.", res.Method.PlaintextScanned>>20),
	}
	if n := fewest(res); n < headlineRounds {
		out = append(out, fmt.Sprintf("Fewest valid rounds: %d. A figure to be quoted needs at least %d.", n, headlineRounds))
	}
	if few := tooFew(res); few != "" {
		out = append(out, "Too few samples for: "+few+".")
	}
	if p := res.Probes; p != nil && p.Missing != "" {
		out = append(out, p.Missing+": the kernel's part of the stages is in one piece.")
	}
	return out
}

func fewest(res *bench.Result) int {
	n := res.Method.Rounds
	for i := range res.Workloads {
		n = min(n, res.Workloads[i].RoundsValid)
	}
	return n
}

// tooFew lists the percentiles that are missing, by workload.
func tooFew(res *bench.Result) string {
	var parts []string
	for i := range res.Workloads {
		w := &res.Workloads[i]
		if m := w.Modes[bench.Encrypted]; m != nil && len(m.TooFew) > 0 {
			parts = append(parts, w.ID+" "+strings.Join(m.TooFew, " and "))
		}
	}
	return strings.Join(parts, ", ")
}
