package probe

import (
	"sealbay/bench/stats"
	"sealbay/blockcrypt/blockdev"
)

// Recorder sums up the stages of a run's requests. It belongs to one
// goroutine; recording allocates nothing and makes no system call.
type Recorder struct {
	p        *Probe // nil: the engine's stamps alone
	endToEnd tally
	stages   [NumStages]tally
	faults   [numFaults]uint64
}

// tally is a histogram with the exact sum beside it.
type tally struct {
	hist *stats.Hist
	sum  int64 // ns
}

func (t *tally) add(ns int64) {
	t.hist.Record(ns)
	t.sum += ns
}

// NewRecorder returns an empty recorder. P may be nil, or paused: then the
// engine's own stamps are divided, with the kernel's part in one piece.
func NewRecorder(p *Probe) *Recorder {
	r := &Recorder{p: p, endToEnd: tally{hist: stats.NewHist()}}
	for s := range r.stages {
		r.stages[s].hist = stats.NewHist()
	}
	return r
}

// Record takes a request as Reap returned it and the latency that the caller
// measured for it, in nanoseconds. It must be called before the next Submit on
// the request's queue. Failed requests are the caller's to leave out.
func (r *Recorder) Record(req *blockdev.Request, latency int64) {
	times, fault := r.divide(req)
	r.record(times, fault, latency)
}

func (r *Recorder) record(times Times, fault Fault, latency int64) {
	r.endToEnd.add(latency)
	r.faults[fault]++
	if fault != NoFault {
		return
	}
	for s, ns := range times {
		r.stages[s].add(ns)
	}
}

func (r *Recorder) divide(req *blockdev.Request) (Times, Fault) {
	if r.p == nil || !r.p.attached.Load() {
		return DivideEngine(req.Stamps)
	}
	return Divide(req.Stamps, r.p.Take(req.Slot))
}

// Reset empties the recorder.
func (r *Recorder) Reset() {
	r.endToEnd.hist.Reset()
	r.endToEnd.sum = 0
	for s := range r.stages {
		r.stages[s].hist.Reset()
		r.stages[s].sum = 0
	}
	r.faults = [numFaults]uint64{}
}

// Merge adds what o recorded.
func (r *Recorder) Merge(o *Recorder) {
	r.endToEnd.merge(&o.endToEnd)
	for s := range r.stages {
		r.stages[s].merge(&o.stages[s])
	}
	for f := range r.faults {
		r.faults[f] += o.faults[f]
	}
}

func (t *tally) merge(o *tally) {
	t.hist.Merge(o.hist)
	t.sum += o.sum
}
