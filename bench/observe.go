package bench

import (
	"errors"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blockdev"
)

// Probes says what the kernel's probes could see.
type Probes struct {
	Device   string          `json:"device,omitempty"`   // that was watched
	Requests bool            `json:"requests"`           // false: no stage queue, the device takes bios
	Features []probe.Feature `json:"features,omitempty"` // what was asked of the kernel
	// Missing says why there are no kernel probes; the stages are the engine's
	// own then, with the kernel's part in one piece.
	Missing string `json:"missing,omitempty"`
}

// openProbe loads the kernel's probes if the plan asks for them. A machine
// that has none runs without, and the result says so.
func (r *runner) openProbe() error {
	if !r.plan.Probes {
		return nil
	}
	p, err := probe.Open(probe.Options{Path: r.subject.Path})
	if unavailable := new(probe.UnavailableError); errors.As(err, &unavailable) || errors.Is(err, probe.ErrNoBlockDevice) {
		r.res.Probes = &Probes{Missing: err.Error()}
		return nil
	}
	if err != nil {
		return err
	}
	r.kernel = p
	r.res.Probes = &Probes{Device: p.Device(), Requests: p.HasRequests(), Features: p.Features()}
	return p.Pause()
}

// observer watches one section of a probed mode. A nil one watches nothing.
type observer struct {
	p     *probe.Probe
	watch *probe.Watch
	rec   *probe.Recorder
}

// observe turns the probes on for a section of mode m, off stays off.
func (r *runner) observe(m mode, depth int) (*observer, error) {
	if !m.probed {
		return nil, nil
	}
	o := &observer{p: r.kernel, rec: probe.NewRecorder(r.kernel)}
	if o.p == nil {
		return o, nil
	}
	var err error
	if o.watch, err = o.p.Watch(depth); err != nil {
		return nil, err
	}
	return o, o.p.Resume()
}

// Slots, Bind, Record and Reset are workload.Observer.

func (o *observer) Slots() uint16 {
	if o.watch == nil {
		return 0
	}
	return o.watch.SlotBase
}

func (o *observer) Bind(q blockdev.Queue) error {
	if o.watch == nil {
		return nil
	}
	return o.watch.Bind(q)
}

func (o *observer) Record(r *blockdev.Request, latency int64) { o.rec.Record(r, latency) }

func (o *observer) Reset() { o.rec.Reset() }

// close turns the probes off again.
func (o *observer) close() error {
	if o == nil || o.p == nil {
		return nil
	}
	return errors.Join(o.watch.Close(), o.p.Pause())
}

// observed keeps what a probed section saw.
func (s *Sample) observed(rec *probe.Recorder) {
	sum := rec.Summary()
	s.Probed, s.recorder = &sum, rec
}

// keep adds the probed sections of a valid round to those before.
func (w *Workload) keep(samples map[string]*Sample) {
	for name, s := range samples {
		if s.recorder == nil {
			continue
		}
		if w.recorders == nil {
			w.recorders = map[string]*probe.Recorder{}
		}
		if all := w.recorders[name]; all != nil {
			all.Merge(s.recorder)
		} else {
			w.recorders[name] = s.recorder
		}
		s.recorder = nil // large; its summary stays
	}
}
