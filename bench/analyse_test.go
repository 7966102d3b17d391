package bench

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sealbay/bench/stats"
	"sealbay/bench/workload"
)

// rounds makes up n rounds of a workload in which plain takes about 100 us an
// operation, with 1 % of spread, and the others so many times that.
func rounds(t *testing.T, n int, encrypted, again, spread float64) []Round {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 9))
	one := func(ns float64) *Sample {
		h := stats.NewHist()
		for range 200 {
			h.Record(int64(ns))
		}
		out := workload.Outcome{Ops: 200, Bytes: 200 * 4096, Elapsed: time.Duration(200 * ns), CPU: time.Millisecond}
		s, err := sample(out, h, meter{steal: 1, total: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var out []Round
	for i := range n {
		base := 100_000 * math.Exp(0.2*rng.NormFloat64())
		noise := func() float64 { return math.Exp(spread * rng.NormFloat64()) }
		out = append(out, Round{N: i + 1, Modes: map[string]*Sample{
			Plain: one(base * noise()), PlainAgain: one(base * again * noise()), Encrypted: one(base * encrypted * noise()),
		}})
	}
	return out
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name                     string
		reads                    int
		encrypted, again, spread float64
		want                     stats.Verdict
	}{
		{"reads 2 % slower", 100, 1.02, 1, 0.005, stats.Pass},
		{"reads 8 % slower", 100, 1.08, 1, 0.005, stats.Fail},
		{"writes 8 % slower", 0, 1.08, 1, 0.005, stats.Pass},
		{"writes 15 % slower", 0, 1.15, 1, 0.005, stats.Fail},
		{"reads 5 % slower, noisy", 100, 1.05, 1, 0.05, stats.Unresolved},
		{"plain 5 % off itself", 100, 1.02, 1.05, 0.005, stats.NoisyHost},
		{"plain 5 % off itself, and slow", 100, 2, 1.05, 0.005, stats.NoisyHost},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := &Result{Method: Method{Seed: 3}, Workloads: []Workload{{
				Workload: workload.Workload{Reads: c.reads}, RoundsVoid: map[string]int{}, Modes: map[string]*Mode{},
				Rounds: rounds(t, 20, c.encrypted, c.again, c.spread),
			}}}
			if err := analyse(res); err != nil {
				t.Fatal(err)
			}
			w := &res.Workloads[0]
			if w.Verdict != c.want || res.NoisyHost != (c.want == stats.NoisyHost) {
				t.Errorf("%s (noisy %v) at %.3f, %.3f to %.3f, want %s", w.Verdict, res.NoisyHost, *w.Ratio, *w.Low, *w.High, c.want)
			}
			if math.Abs(*w.Ratio*c.encrypted-1) > 0.03 || math.Abs(w.Latency.Ratio/c.encrypted-1) > 0.03 {
				t.Errorf("throughput ratio %.3f, latency ratio %.3f, made up with %.3f", *w.Ratio, w.Latency.Ratio, c.encrypted)
			}
		})
	}
}

func TestVoidRoundsAreNotUsed(t *testing.T) {
	all := rounds(t, 5, 1, 1, 0)
	all = append(all, rounds(t, 2, 100, 1, 0)...)
	all[5].Void, all[6].Void = voidSteal, voidIO
	all[6].Modes = map[string]*Sample{} // cut short
	w := Workload{Workload: workload.Workload{Reads: 100}, RoundsVoid: map[string]int{}, Modes: map[string]*Mode{}, Rounds: all}
	res := &Result{Workloads: []Workload{w}}
	if err := analyse(res); err != nil {
		t.Fatal(err)
	}
	got := &res.Workloads[0]
	if got.RoundsValid != 5 || got.RoundsVoid[voidSteal] != 1 || got.RoundsVoid[voidIO] != 1 || math.Abs(*got.Ratio-1) > 1e-9 {
		t.Errorf("%d valid, void %v, ratio %v", got.RoundsValid, got.RoundsVoid, *got.Ratio)
	}
}

func TestPool(t *testing.T) {
	m, err := pool(rounds(t, 10, 1, 1, 0), Plain)
	if err != nil {
		t.Fatal(err)
	}
	if m.Samples != 2000 || m.P99 == nil || m.P999 != nil || len(m.TooFew) != 2 || m.Stages != nil {
		t.Errorf("%+v", m)
	}
	if want := 0.01 / (2000 * 4096 / 1e9); math.Abs(m.CPUPerGB/want-1) > 1e-9 {
		t.Errorf("CPU %v s/GB, want %v", m.CPUPerGB, want)
	}
	if want := 2000 * 4096 / 1e6 / m.Seconds; math.Abs(m.MBps/want-1) > 1e-9 {
		t.Errorf("%v MB/s, want %v", m.MBps, want)
	}
	if want := 2000 / m.Seconds; math.Abs(m.IOPS/want-1) > 1e-9 {
		t.Errorf("%v IOPS, want %v", m.IOPS, want)
	}
}

func TestJudgeRound(t *testing.T) {
	for _, c := range []struct {
		failed error
		passed meter
		want   string
	}{
		{nil, meter{}, ""},
		{nil, meter{steal: 2, total: 100}, ""},
		{nil, meter{steal: 3, total: 100}, voidSteal},
		{nil, meter{steal: 1, total: 4}, ""},
		{nil, meter{total: 100, throttled: 1}, voidHeat},
		{workload.ErrStopped, meter{total: 100}, voidIO},
	} {
		r := Round{}
		if r.judge(c.failed, c.passed); r.Void != c.want {
			t.Errorf("%v, %+v: void for %q, want %q", c.failed, c.passed, r.Void, c.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	m, err := parseStat("cpu  10 20 30 40 50 60 70 80 5 6")
	if err != nil || m.steal != 80 || m.total != 360 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3 4 5 6 7 x"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestThrottled(t *testing.T) {
	sys := t.TempDir()
	if sum, ok, err := throttled(sys); sum != 0 || ok || err != nil {
		t.Errorf("without counters: %d, %v, %v", sum, ok, err)
	}
	for name, text := range map[string]string{"cpu0/thermal_throttle/core_throttle_count": "3\n", "cpu1/thermal_throttle/package_throttle_count": "4\n"} {
		path := filepath.Join(sys, "devices/system/cpu", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if sum, ok, err := throttled(sys); sum != 7 || !ok || err != nil {
		t.Errorf("counters of 3 and 4: %d, %v, %v", sum, ok, err)
	}
}
