package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"sealbay/bench"
	"sealbay/bench/probe"
	"sealbay/bench/stats"
	"sealbay/bench/workload"
)

var update = flag.Bool("update", false, "write the golden file anew")

func p(v float64) *float64 { return &v }

// result is a made-up run: one workload that passes, one that fails.
func result() *bench.Result {
	holds := true
	judged := func(ratio, limit float64, v stats.Verdict) *bench.Judged {
		return &bench.Judged{
			Effect: bench.Effect{Ratio: ratio, Low: p(ratio - 0.01), High: p(ratio + 0.01)}, Limit: &limit, Verdict: v,
			AA: bench.Effect{Ratio: 1.001, Low: p(0.99), High: p(1.01)}, AAHolds: &holds,
		}
	}
	w := workload.Headline()
	return &bench.Result{
		Schema: bench.Schema, Version: "v0.1.0", Status: bench.Complete,
		Host:   bench.Host{Kernel: "6.12.1", CPU: "Example CPU", CPUs: 4},
		Target: bench.Target{Path: "/dev/nvme1n1", Kind: "block device", Model: "Example SSD", Serial: "S4N0", Offset: 16 << 20, Span: 1008 << 20, Engine: "direct", Cipher: "aes-xts-plain64, 512-bit key, 4096-byte sectors", XTS: "vaes-avx512"},
		Method: bench.Method{Seed: 42, Rounds: 20, SectionSeconds: 1, WarmupSeconds: 0.2, PlaintextScanned: 1008 << 20},
		Workloads: []bench.Workload{
			{
				Workload: w[0], Verdict: stats.Pass, RoundsValid: 20, RoundsVoid: map[string]int{"steal": 2},
				Low: p(0.97), Throughput: judged(0.981, 0.95, stats.Pass), Latency: judged(1.02, 1.05, stats.Pass),
				Modes: map[string]*bench.Mode{
					bench.Plain:     {MBps: 3210.4, P50: 312.25, P99: p(402), Max: 1999.5, CPUPerGB: 0.0312, TooFew: []string{"p99.99"}, P999: p(500)},
					bench.Encrypted: {MBps: 3149.4, P50: 318.5, P99: p(410), Max: 2200.5, CPUPerGB: 0.0712, TooFew: []string{"p99.9", "p99.99"}},
				},
			},
			{
				Workload: w[3], Verdict: stats.Fail, RoundsValid: 20, RoundsVoid: map[string]int{},
				Low: p(0.69), Throughput: judged(0.701, 0.90, stats.Fail), Latency: judged(1.42, 1.10, stats.Fail), Tail: judged(1.5, 0, ""),
				Modes: map[string]*bench.Mode{
					bench.Plain:     {MBps: 98.76, IOPS: 24111, P50: 9.5, P99: p(20.25), P999: p(31), P9999: p(99), Max: 123, CPUPerGB: 2.5},
					bench.Encrypted: {MBps: 69.12, IOPS: 16875, P50: 13.5, P99: p(30.25), P999: p(41), P9999: p(129), Max: 223, CPUPerGB: 3.5},
				},
			},
		},
	}
}

// probed adds what --probes and --plain-copy add.
func probed(w *bench.Workload) {
	dist := func(us float64) probe.Distribution {
		return probe.Distribution{MeanUS: us * 1.2, P50US: p(us), P90US: p(us * 2), P99US: p(us * 3)}
	}
	summary := func(encrypt float64) *probe.Summary {
		return &probe.Summary{IOs: 1000, Matched: 997, Unmatched: map[string]int64{"no completion": 1, "stale": 2}, EndToEnd: dist(12 + encrypt),
			Stages: []probe.StageSummary{{Stage: "encrypt", Distribution: dist(encrypt)}, {Stage: "submit", Distribution: dist(3)}, {Stage: "device", Distribution: dist(9)}},
			SumUS:  14.4 + 1.2*encrypt, UnexplainedUS: 0.02, Explained: 0.998}
	}
	shift := func(us float64) probe.Shift { return probe.Shift{US: us, Low: p(us - 0.11), High: p(us + 0.11)} }
	diff := func(stage string, us float64) probe.Difference {
		median := shift(us)
		return probe.Difference{Stage: stage, Mean: shift(us * 1.2), P50: &median}
	}
	w.Modes[bench.PlainProbed] = &bench.Mode{Probed: summary(0)}
	w.Modes[bench.EncryptedProbed] = &bench.Mode{Probed: summary(0.41)}
	w.Overhead = []probe.Difference{diff("encrypt", 0.41), diff("submit", 0.01), diff("device", -0.02), diff(probe.EndToEnd, 0.4)}
	w.ProbeCost = &bench.ProbeCost{Mean: shift(0.7), P50: shift(0.6)}
	w.CopyThroughput, w.CopyLatency = &bench.Effect{Ratio: 0.97, Low: p(0.96), High: p(0.98)}, &bench.Effect{Ratio: 1.03, Low: p(1.02), High: p(1.04)}
}

func text(t *testing.T, res *bench.Result, color bool) string {
	t.Helper()
	res.Workloads[len(res.Workloads)-1].Tail.Limit = nil
	var b bytes.Buffer
	if err := Text(&b, res, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	res := result()
	probed(&res.Workloads[1])
	off := false
	res.Workloads[0].Throughput.AAHolds = &off
	got := text(t, res, false)
	if *update {
		if err := os.WriteFile("testdata/report.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/report.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report has changed (go test -update writes it anew):\n%s", got)
	}
	for line := range strings.Lines(got) {
		if len(line) > 81 || strings.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
			t.Errorf("more than 80 columns, or not ASCII: %q", line)
		}
	}
}

// Colour must not change a letter.
func TestColour(t *testing.T) {
	plain, colored := text(t, result(), false), text(t, result(), true)
	for _, code := range []string{"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m"} {
		colored = strings.ReplaceAll(colored, code, "")
	}
	trim := func(s string) (out []string) {
		for line := range strings.Lines(s) {
			out = append(out, strings.TrimRight(line, " \n"))
		}
		return out
	}
	if a, b := strings.Join(trim(plain), "\n"), strings.Join(trim(colored), "\n"); a != b {
		t.Errorf("with colour:\n%s", b)
	}
}

func TestSentence(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*bench.Result)
		want   stats.Verdict
		text   string
	}{
		{"fails", func(*bench.Result) {}, stats.Fail, "in W4 (throughput 0.70, latency 1.42)"},
		{"passes", func(r *bench.Result) { r.Workloads = r.Workloads[:1] }, stats.Pass, "in all of 1 workload."},
		{"unresolved", func(r *bench.Result) { r.Workloads[1].Verdict = stats.Unresolved }, stats.Unresolved, "more rounds must tell on which side of the line lies W4 (throughput 0.70, latency 1.42)."},
		{"noisy and failed", func(r *bench.Result) { r.Workloads[0].Verdict = stats.NoisyHost }, stats.NoisyHost, "Outside the line: W4"},
		{"too few rounds", func(r *bench.Result) {
			r.Workloads[1].Verdict, r.Workloads[1].Low, r.Workloads[1].RoundsValid = stats.Unresolved, nil, 4
		}, stats.Unresolved, "latency 1.42, only 4 valid rounds)"},
		{"no round", func(r *bench.Result) {
			r.Workloads[1] = bench.Workload{Workload: r.Workloads[1].Workload, Verdict: stats.Unresolved}
		}, stats.Unresolved, "W4 (no valid round)"},
		{"emulated", func(r *bench.Result) { r.Host.Emulated = true }, stats.Fail, "emulated in software"},
		{"interrupted", func(r *bench.Result) { r.Status, r.Stopped = bench.Partial, "interrupted" }, stats.Fail, "PARTIAL RESULT (interrupted): FAIL"},
	} {
		res := result()
		c.change(res)
		if v, got := Sentence(res); v != c.want || !strings.Contains(got, c.text) {
			t.Errorf("%s: %s, %q", c.name, v, got)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 0.0312: "0.031", 1.2345: "1.234", 12.345: "12.35", 123.45: "123.5", 1234.5: "1234", 123456: "123456"} {
		if got := number(v); got != want {
			t.Errorf("%v is printed %s, want %s", v, got, want)
		}
	}
	if optional(nil) != "-" {
		t.Error("what was not measured is printed " + optional(nil))
	}
}

func TestJSONRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, result()); err != nil {
		t.Fatal(err)
	}
	var back bench.Result
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if back.Workloads[0].Throughput.Ratio != 0.981 || back.Workloads[0].BlockSize != 1<<20 || back.Method.Seed != 42 {
		t.Errorf("%+v", back)
	}
}
