package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sealbay/bench/internal/bent"
	"sealbay/bench/stats"
	"sealbay/bench/workload"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/engine"
	"sealbay/blockcrypt/blocktest"
)

const span = 8 << 20

// subject is a drive in memory with a real encrypted volume on it.
func subject(t *testing.T) (Subject, *blocktest.Memory) {
	t.Helper()
	d := blocktest.New(blockcrypt.DataOffset+span, blocktest.Options{})
	return Subject{Raw: d, Base: blockcrypt.DataOffset, Volume: volume(t, d, 1), Span: span}, d
}

// volume formats d under a key of its own. A volume that was open before still
// works, with the volume key it had.
func volume(t *testing.T, d blockdev.Device, key byte) *blockcrypt.Volume {
	t.Helper()
	kek := make([]byte, blockcrypt.KEKSize)
	kek[0] = key
	o := blockcrypt.FormatOptions{Key: blockcrypt.KeyInfo{Epoch: 1, Store: blockcrypt.StoreLocal}, Force: true}
	if _, err := blockcrypt.Format(d, kek, o); err != nil {
		t.Fatal(err)
	}
	v, err := blockcrypt.Open(d, kek, blockcrypt.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func plan(rounds int) Plan {
	return Plan{Workloads: workload.Headline(), Rounds: rounds, Section: 10 * time.Millisecond, Warmup: time.Millisecond, Seed: 5, meter: calm}
}

// calm is the real meter on a machine from which nothing is stolen.
func calm() (meter, error) {
	m, err := readMeter()
	m.steal, m.throttled = 0, 0
	return m, err
}

// stolen is a machine that loses every second tick.
func stolen() (meter, error) {
	m, err := readMeter()
	m.steal = m.total / 2
	return m, err
}

// TestRobbedHost: rounds that lost processor time count for nothing, and the
// run says so.
func TestRobbedHost(t *testing.T) {
	s, _ := subject(t)
	p := plan(1)
	p.Workloads, p.Section, p.meter = p.Workloads[:1], 50*time.Millisecond, stolen
	res, err := Run(t.Context(), p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := res.Workloads[0]
	if w.RoundsValid != 0 || w.RoundsVoid[voidSteal] != 2 || w.Ratio != nil || w.Verdict != stats.Unresolved {
		t.Errorf("%d rounds valid, void %v, ratio %v, %q", w.RoundsValid, w.RoundsVoid, w.Ratio, w.Verdict)
	}
}

func TestRun(t *testing.T) {
	s, _ := subject(t)
	var seen []Progress
	res, err := Run(t.Context(), plan(5), s, func(p Progress) { seen = append(seen, p) })
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != Complete || res.Schema != Schema || res.Host.Kernel == "" || res.Target.XTS == "" || res.Method.PlaintextScanned != span {
		t.Errorf("result says %q %q %+v %+v %+v", res.Status, res.Schema, res.Host, res.Target, res.Method)
	}
	for _, w := range res.Workloads {
		checkWorkload(t, &w)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i].Doing == "" || seen[i].Done < 0 || seen[i].Done > 1 {
			t.Errorf("progress %+v", seen[i])
		}
	}
	if len(seen) < 2+5*(3+4*3) { // two fills, then a fill and four sections in each mode and round
		t.Errorf("%d steps were announced", len(seen))
	}
}

func checkWorkload(t *testing.T, w *Workload) {
	t.Helper()
	// A round that was void for a workload of the same fill gives one more.
	if w.RoundsValid < 5 || w.RoundsVoid[voidIO] != 0 || len(w.Rounds) != w.RoundsValid+w.RoundsVoid[voidSteal] {
		t.Fatalf("%s: %d rounds, %d valid, void %v", w.ID, len(w.Rounds), w.RoundsValid, w.RoundsVoid)
	}
	for _, r := range w.Rounds {
		if len(r.Order) != 3 || len(r.Modes) != 3 {
			t.Errorf("%s: round %d had modes in order %v", w.ID, r.N, r.Order)
		}
	}
	if w.Ratio == nil || w.Low == nil || *w.Low > *w.Ratio || *w.Ratio > *w.High || w.Verdict == "" {
		t.Errorf("%s: ratio %v in %v to %v, %q", w.ID, w.Ratio, w.Low, w.High, w.Verdict)
	}
	for name, m := range w.Modes {
		if m.MBps <= 0 || m.IOPS <= 0 || m.P50 <= 0 || m.Max < m.P50 || m.CPUPerGB <= 0 || m.Samples == 0 {
			t.Errorf("%s %s: %+v", w.ID, name, m)
		}
		if told := m.P9999 != nil; told != (m.Samples >= 100_000) { // ten must lie beyond it
			t.Errorf("%s %s: p99.99 of %d samples: %v", w.ID, name, m.Samples, told)
		}
	}
}

// What was not measured must not be in the JSON, not even as a zero.
func TestJSONHasNoZerosForWhatIsAbsent(t *testing.T) {
	s, _ := subject(t)
	p := plan(1)
	p.Workloads = p.Workloads[:1]
	res, err := Run(t.Context(), p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Workloads []map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"ci_low", "ci_high"} {
		if v, ok := got.Workloads[0][absent]; ok {
			t.Errorf("one round has %s %v", absent, v)
		}
	}
	modes := got.Workloads[0]["modes"].(map[string]any)
	for name, m := range modes {
		if v, ok := m.(map[string]any)["p99_99_us"]; ok {
			t.Errorf("mode %s has p99.99 %v", name, v)
		}
		if few := m.(map[string]any)["too_few_samples_for"]; few == nil {
			t.Errorf("mode %s does not say for what it has too few samples", name)
		}
	}
}

// twoFaced opens the first queues on one volume and the later ones on another.
type twoFaced struct {
	blockdev.Device
	then blockdev.Device
	left int
}

func (d *twoFaced) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if d.left--; d.left < 0 {
		return d.then.OpenQueue(o)
	}
	return d.Device.OpenQueue(o)
}

// window is a device that starts later than the one below.
func window(d blockdev.Device, base int64) blockdev.Device {
	return &bent.Device{Device: d,
		Before: func(_ int, r *blockdev.Request) { r.Offset += base },
		After:  func(_ int, r *blockdev.Request) { r.Offset -= base }}
}

// A run whose rounds are nearly all void gives up and says so.
func TestMostRoundsVoid(t *testing.T) {
	s, d := subject(t)
	n := 0
	watch := func(p Progress) {
		if strings.Contains(p.Doing, "W2 encrypted") {
			if n++; n%3 != 0 { // never three in a row
				d.FailAt(0, unix.EIO)
			}
		}
	}
	p := plan(5)
	p.Workloads = p.Workloads[1:2]
	res, err := Run(t.Context(), p, s, watch)
	if err != nil {
		t.Fatal(err)
	}
	w := &res.Workloads[0]
	if res.Method.Ended != EndedVoid || len(w.Rounds) != 10 || w.RoundsValid > 4 || w.Verdict != stats.Unresolved || w.Low != nil {
		t.Errorf("ended for %q after %d rounds, %d valid, %s", res.Method.Ended, len(w.Rounds), w.RoundsValid, w.Verdict)
	}
}

// A bench whose encrypted mode is not what it seems must not print a figure.
func TestBrokenVolumes(t *testing.T) {
	for _, c := range []struct {
		name  string
		work  string
		build func(t *testing.T, s *Subject)
		want  string
	}{
		{"decrypts with the wrong key", "W1", func(t *testing.T, s *Subject) {
			s.Volume = &twoFaced{s.Volume, volume(t, s.Raw, 2), 2}
		}, "never wrote"},
		{"does not encrypt", "W1", func(_ *testing.T, s *Subject) { s.Volume = window(s.Raw, s.Base) }, "plaintext found"},
		{"writes elsewhere", "W1", func(_ *testing.T, s *Subject) { s.Volume = window(blocktest.New(span+s.Base, blocktest.Options{}), 0) }, "plaintext found"},
		{"drops writes", "W4", func(_ *testing.T, s *Subject) {
			s.Volume = &bent.Device{Device: s.Volume, Before: bent.DropWrites(func(n int) bool { return n > 100 && n%2 == 0 })}
		}, "does not hold what was written"},
		{"swaps sectors", "W4", func(_ *testing.T, s *Subject) {
			s.Volume = &bent.Device{Device: s.Volume, Before: bent.SwapWrites()}
		}, "does not hold what was written"}, // its neighbour's block, or nothing if that was not written yet
		{"drops every write from the start", "W2", func(_ *testing.T, s *Subject) {
			s.Volume = &bent.Device{Device: s.Volume, Before: bent.DropWrites(func(int) bool { return true })}
		}, "does not hold what was written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := subject(t)
			c.build(t, &s)
			p := plan(2)
			var err error
			if p.Workloads, err = workload.Select(c.work); err != nil {
				t.Fatal(err)
			}
			res, err := Run(t.Context(), p, s, nil)
			var bad *IntegrityError
			if res != nil || !errors.As(err, &bad) {
				t.Fatalf("the run ended with %v", err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "mode encrypted") {
				t.Errorf("%q says nothing of %q", err, c.want)
			}
		})
	}
}

func TestIOErrorVoidsTheRound(t *testing.T) {
	s, d := subject(t)
	failed := false
	watch := func(p Progress) {
		if !failed && strings.HasPrefix(p.Doing, "round 2") {
			failed = true
			d.FailAt(3, unix.EIO)
		}
	}
	res, err := Run(t.Context(), plan(3), s, watch)
	if err != nil {
		t.Fatal(err)
	}
	w := &res.Workloads[0]
	if w.RoundsVoid[voidIO] != 1 || w.Rounds[1].Void != voidIO || !strings.Contains(w.Rounds[1].Why, "input/output error") {
		t.Errorf("void %v, second round %q %q", w.RoundsVoid, w.Rounds[1].Void, w.Rounds[1].Why)
	}
	if res.Status != Complete || len(w.Rounds) < 4 || w.RoundsValid < 3 {
		t.Errorf("%s after %d rounds", res.Status, len(w.Rounds))
	}
}

func TestDeadDriveEndsTheRun(t *testing.T) {
	s, d := subject(t)
	watch := func(p Progress) {
		if strings.HasPrefix(p.Doing, "round 1") {
			d.Fail(func(int, *blockdev.Request) blocktest.Fault { return blocktest.Fault{Err: unix.EIO} })
		}
	}
	res, err := Run(t.Context(), plan(20), s, watch)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != Partial || !strings.Contains(res.Stopped, "3 rounds in a row") || len(res.Workloads[0].Rounds) != 3 {
		t.Errorf("%s (%s) after %d rounds", res.Status, res.Stopped, len(res.Workloads[0].Rounds))
	}
	if w := &res.Workloads[0]; w.Ratio != nil || len(w.Modes) != 0 || w.Verdict != stats.Unresolved {
		t.Errorf("without a valid round: ratio %v, modes %v, %s", w.Ratio, w.Modes, w.Verdict)
	}
}

func TestInterrupt(t *testing.T) {
	s, _ := subject(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := func(p Progress) {
		if strings.HasPrefix(p.Doing, "round 3") {
			cancel()
		}
	}
	began := time.Now()
	res, err := Run(ctx, plan(10_000), s, watch)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != Partial || res.Stopped != "interrupted" || len(res.Workloads[0].Rounds) != 2 || time.Since(began) > 20*time.Second {
		t.Errorf("%s (%s) after %d rounds and %v", res.Status, res.Stopped, len(res.Workloads[0].Rounds), time.Since(began))
	}
}

// With a budget a run goes on until it knows enough, or the budget is spent.
func TestBudget(t *testing.T) {
	s, _ := subject(t)
	p := plan(5)
	p.Workloads, p.Budget = p.Workloads[1:2], 3*time.Second
	res, err := Run(t.Context(), p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &res.Workloads[0]
	took := res.Finished.Sub(res.Started)
	switch res.Method.Ended {
	case EndedBudget: // a drive in memory on a busy host is too noisy for 1 %
		if took < p.Budget-100*time.Millisecond || w.RoundsValid <= 5 { // the budget runs from before Started
			t.Errorf("ended for the budget after %v and %d rounds", took, w.RoundsValid)
		}
	case EndedNarrow:
		if (*w.High-*w.Low)/2 > narrow || took > p.Budget+time.Second {
			t.Errorf("ended as narrow after %v: %v to %v", took, *w.Low, *w.High)
		}
	default:
		t.Errorf("ended for %q", res.Method.Ended)
	}
}

func TestWide(t *testing.T) {
	for spread, want := range map[float64]bool{0.001: false, 0.1: true} {
		r := &runner{res: &Result{Workloads: []Workload{{Rounds: rounds(t, 20, 1.02, 1, spread)}}}}
		if got := r.wide(0); got != want {
			t.Errorf("a spread of %v is wide: %v", spread, got)
		}
	}
}

// The same seed gives the same order of modes; the order is not always alike.
func TestOrderOfModes(t *testing.T) {
	orders := func() string {
		s, _ := subject(t)
		p := plan(6)
		p.Workloads = p.Workloads[1:2]
		res, err := Run(t.Context(), p, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, r := range res.Workloads[0].Rounds[:6] { // more if some were void
			all = append(all, strings.Join(r.Order, ","))
		}
		return strings.Join(all, " ")
	}
	first := orders()
	if again := orders(); again != first {
		t.Errorf("the same seed gave %s and %s", first, again)
	}
	if parts := strings.Fields(first); strings.Count(first, parts[0]) == len(parts) {
		t.Errorf("every round had the order %s", parts[0])
	}
}

func TestPlanCheck(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"no workload":      func(p *Plan) { p.Workloads = nil },
		"0 rounds":         func(p *Plan) { p.Rounds = 0 },
		"70000 rounds":     func(p *Plan) { p.Rounds = 70_000 },
		"sections of 1µs":  func(p *Plan) { p.Section = time.Microsecond },
		"a budget of -1s":  func(p *Plan) { p.Budget = -time.Second },
		"a warm-up of -1s": func(p *Plan) { p.Warmup = -time.Second },
	} {
		p := plan(3)
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestProbes runs on a real block device with the kernel's own stamps.
func TestProbes(t *testing.T) {
	for _, name := range engine.Names() {
		if name != engine.Auto {
			t.Run(name, func(t *testing.T) { testProbes(t, name) })
		}
	}
}

func testProbes(t *testing.T, with string) {
	path := blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), blockcrypt.DataOffset+span), 512)
	d, err := engine.Open(path, with, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s := Subject{Path: path, Raw: d, Base: blockcrypt.DataOffset, Volume: volume(t, d, 1), Span: span}
	p := plan(6) // the fewest that an interval of differences needs
	p.Workloads, p.Probes, p.Copy = p.Workloads[3:], true, true
	res, err := Run(t.Context(), p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Probes == nil || res.Probes.Missing != "" || res.Probes.Device == "" || len(res.Probes.Features) == 0 {
		t.Fatalf("probes: %+v", res.Probes)
	}
	w := &res.Workloads[0]
	for _, name := range []string{PlainProbed, EncryptedProbed} {
		sum := w.Modes[name].Probed
		if sum == nil || sum.Matched == 0 || float64(sum.Matched) < 0.98*float64(sum.IOs) || sum.Explained < 0.95 || sum.Explained > 1.05 {
			t.Errorf("%s: %+v", name, sum)
		}
		if sum.IOs != w.Modes[name].Samples {
			t.Errorf("%s: the probes saw %d operations, the clock %d", name, sum.IOs, w.Modes[name].Samples)
		}
	}
	seen := map[string]bool{}
	for _, d := range w.Overhead {
		seen[d.Stage] = true
		if d.Stage == "encrypt" && (d.Mean.US <= 0 || d.Mean.Low == nil) {
			t.Errorf("encrypting costs %+v", d.Mean)
		}
	}
	if !seen["encrypt"] || !seen["device"] || !seen["end to end"] || w.ProbeCost == nil || w.ProbeCost.P50.Low == nil {
		t.Errorf("overhead of %v, cost of the probes %+v", seen, w.ProbeCost)
	}
	if w.Modes[Plain].Probed != nil || w.CopyThroughput == nil || w.CopyLatency == nil {
		t.Errorf("plain was probed (%v), or was not compared with a copy", w.Modes[Plain].Probed)
	}
}

// Where there is no block device the engine's own stamps must do.
func TestProbesWithoutKernel(t *testing.T) {
	s, _ := subject(t)
	s.Path = blocktest.Tmpfs(t)
	p := plan(5)
	p.Workloads, p.Probes = p.Workloads[2:3], true
	res, err := Run(t.Context(), p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Probes == nil || !strings.Contains(res.Probes.Missing, "no block device") {
		t.Fatalf("probes: %+v", res.Probes)
	}
	if c := res.Workloads[0].ProbeCost; c != nil || len(res.Workloads[0].Overhead) == 0 {
		t.Errorf("probes that were not there cost %+v; overhead %v", c, res.Workloads[0].Overhead)
	}
	sum := res.Workloads[0].Modes[EncryptedProbed].Probed
	if sum == nil || sum.Matched != sum.IOs || len(sum.Stages) == 0 {
		t.Errorf("%+v", sum)
	}
}
