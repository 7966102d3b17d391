package probe

import (
	"math"
	"testing"

	"sealbay/blockcrypt/blockdev"
)

// fill records n requests of the whole way, one of them with its issue missed.
func fill(r *Recorder, n int) {
	for i := range n {
		e, k := wholeEngine, wholeKernel
		if i == n/2 {
			k.Issued = 0
		}
		times, fault := Divide(e, k)
		r.record(times, fault, 130)
	}
}

func TestSummary(t *testing.T) {
	r := NewRecorder(nil)
	fill(r, 1001)
	s := r.Summary()
	if s.IOs != 1001 || s.Matched != 1000 || s.Unmatched["no issue"] != 1 || len(s.Unmatched) != 1 {
		t.Errorf("counts: %+v", s)
	}
	want := map[string]float64{"encrypt": 1, "submit": 2, "queue": 4, "device": 8, "complete": 16, "decrypt": 32, "reap": 64}
	if len(s.Stages) != len(want) {
		t.Errorf("%d stages, want %d", len(s.Stages), len(want))
	}
	for _, stage := range s.Stages {
		ns := want[stage.Stage]
		if math.Abs(stage.MeanUS*1e3-ns) > 1e-9 || *stage.P50US*1e3 != ns || *stage.P99US*1e3 != ns {
			t.Errorf("%s: %+v, want %v ns", stage.Stage, stage, ns)
		}
		if stage.P999US != nil {
			t.Errorf("%s: p99.9 told from %d samples", stage.Stage, s.Matched)
		}
	}
	if math.Abs(s.SumUS-0.127) > 1e-9 || math.Abs(s.UnexplainedUS-0.003) > 1e-9 || math.Abs(s.Explained-127.0/130) > 1e-9 {
		t.Errorf("sum %v us, rest %v us, share %v", s.SumUS, s.UnexplainedUS, s.Explained)
	}
}

func TestSummaryWithoutProbe(t *testing.T) {
	r := NewRecorder(nil)
	r.Record(&blockdev.Request{Stamps: wholeEngine}, 130)
	s := r.Summary()
	if s.stage("kernel") == nil || s.stage("kernel").MeanUS != 0.029 || s.stage("queue") != nil || s.stage("device") != nil {
		t.Errorf("stages without a probe: %+v", s.Stages)
	}
	if s.SumUS != 0.127 {
		t.Errorf("sum %v us", s.SumUS)
	}
}

func TestSummaryOfNothing(t *testing.T) {
	s := NewRecorder(nil).Summary()
	if s.IOs != 0 || s.Explained != 0 || s.EndToEnd.P50US != nil {
		t.Errorf("summary of nothing: %+v", s)
	}
}

func TestMergeAndReset(t *testing.T) {
	a, b := NewRecorder(nil), NewRecorder(nil)
	fill(a, 11)
	fill(b, 21)
	a.Merge(b)
	if s := a.Summary(); s.IOs != 32 || s.Matched != 30 || s.Unmatched["no issue"] != 2 || math.Abs(s.SumUS-0.127) > 1e-9 {
		t.Errorf("merged: %+v", s)
	}
	a.Reset()
	if s := a.Summary(); s.IOs != 0 || s.Matched != 0 || len(s.Unmatched) != 0 || s.SumUS != 0 {
		t.Errorf("reset: %+v", s)
	}
}

func TestDifferences(t *testing.T) {
	round := func(encrypt, device float64) Summary {
		d := func(us float64) Distribution { return Distribution{MeanUS: us, P50US: &us} }
		return Summary{EndToEnd: d(encrypt + device), Stages: []StageSummary{{"encrypt", d(encrypt)}, {"device", d(device)}}}
	}
	// The host drifts: only the difference within each round is steady.
	var over, under []Summary
	for i, encrypt := range []float64{0.5, 0.7, 0.6, 0.55, 0.65, 0.6, 0.6} {
		over = append(over, round(encrypt, float64(10*i)))
		under = append(under, round(0, float64(10*i)))
	}
	got := Differences(over, under)
	if len(got) != 3 {
		t.Fatalf("%d differences: %+v", len(got), got)
	}
	for i, want := range []struct {
		stage         string
		us, low, high float64
	}{{"encrypt", 0.6, 0.5, 0.7}, {"device", 0, 0, 0}, {EndToEnd, 0.6, 0.5, 0.7}} {
		d := got[i]
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
		if d.Stage != want.stage || !near(d.Mean.US, want.us) || !near(d.P50.US, want.us) {
			t.Errorf("%s: mean %+v, p50 %+v; want %s %v", d.Stage, d.Mean, d.P50, want.stage, want.us)
		}
		if d.P99 != nil {
			t.Errorf("%s: p99 of what has none", d.Stage)
		}
		if d.Mean.Low == nil || !near(*d.Mean.Low, want.low) || !near(*d.Mean.High, want.high) {
			t.Errorf("%s: %+v, want %v to %v", d.Stage, d.Mean, want.low, want.high)
		}
	}
	if d := Differences(over[:1], under[:1]); d[0].Mean.Low != nil {
		t.Error("an interval from one round")
	}
	if d := Differences(over, []Summary{round(0, 1), {}, {}, {}, {}, {}, {}}); len(d) != 1 || d[0].Stage != EndToEnd {
		t.Errorf("stages that not every round has: %+v", d)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	r := NewRecorder(nil)
	req := &blockdev.Request{Stamps: wholeEngine}
	if n := testing.AllocsPerRun(100, func() { r.Record(req, 130) }); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder(nil)
	req := &blockdev.Request{Stamps: wholeEngine}
	b.ReportAllocs()
	for b.Loop() {
		r.Record(req, 130)
	}
}
