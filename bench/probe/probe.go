// Package probe says where each microsecond of an I/O went. BPF programs on
// the kernel's own tracepoints (block and io_uring) stamp the stations that an
// I/O passes; the stamps stand beside the engine's own in memory that both
// share. Nothing is sent per I/O, and nothing is pinned: when the process ends
// in whatever way, the kernel frees every program and map.
//
// The stages of an I/O are found by Divide; a Recorder sums them up over a
// run. Live watches any block device without an engine of ours.
//
// What it does not do: no kprobes, no uprobes (1 to 23 us per call), no
// tracing of what other processes write, no change to any I/O.
package probe

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// ErrNoBlockDevice: the file lies on a file system without a block device of
// its own (tmpfs, overlay, btrfs, a network file system).
var ErrNoBlockDevice = errors.New("no block device beneath it, so there are no block requests to watch")

// UnavailableError says what the machine or the process lacks for kernel
// probes. A bench runs on without them.
type UnavailableError struct {
	Missing []string // each a short phrase
	Err     error    // the kernel's answer, may be nil
}

// Error lists what is missing.
func (e *UnavailableError) Error() string {
	text := "kernel probes are not available: missing " + strings.Join(e.Missing, "; ")
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

// Unwrap returns the kernel's answer.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Options shapes a Probe.
type Options struct {
	// Path is the block device, or a file on it, whose I/O is watched.
	Path string
	// Slots is the most requests in flight over all watched queues; 0 means
	// DefaultSlots, 65536 is the most.
	Slots int
}

// DefaultSlots is Options.Slots where none is given.
const DefaultSlots = 1024

// Probe is a loaded set of programs. Its methods may be called from any
// goroutine, but see Watch.
type Probe struct {
	target   target
	features []Feature
	coll     *ebpf.Collection
	picked   []choice
	slots    *slotTable
	attached atomic.Bool

	mu     sync.Mutex // guards what follows
	links  []link.Link
	bound  map[uint32]boundThread // by place
	free   ranges
	closed bool
}

// Open loads the programs and attaches them. It fails with an
// *UnavailableError where the kernel or the process's privileges do not allow
// it, with ErrNoBlockDevice where there is nothing to watch.
func Open(o Options) (*Probe, error) { return open(o, stageHooks) }

func open(o Options, hooks func(requests bool) []hook) (*Probe, error) {
	if o.Slots == 0 {
		o.Slots = DefaultSlots
	}
	if o.Slots < 1 || o.Slots > 1<<16 {
		return nil, fmt.Errorf("probe with %d slots: must be 1 to 65536", o.Slots)
	}
	t, err := resolve(o.Path)
	if err != nil {
		return nil, err
	}
	picked, features, err := choose(hooks(t.hasQueue()))
	if err != nil {
		return nil, err
	}
	p := &Probe{target: t, features: features, picked: picked, bound: map[uint32]boundThread{}, free: newRanges(o.Slots)}
	if err := p.load(o.Slots); err != nil {
		return nil, err
	}
	if err := p.Resume(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// stageHooks lists the stations of an I/O, and which program serves each on
// which kernel.
func stageHooks(requests bool) []hook {
	ring := []hook{
		{name: "io_uring_submit_req", choices: []choice{
			{tracepoint: "io_uring_submit_req", program: stagesProgOnSubmit, since: "6.3"},
			{tracepoint: "io_uring_submit_sqe", program: stagesProgOnSubmitSqe},
		}},
		{name: "io_uring_complete", choices: []choice{
			{tracepoint: "io_uring_complete", program: stagesProgOnPost, argument: "io_uring_cqe"},
			{tracepoint: "io_uring_complete", program: stagesProgOnPostFields},
		}},
		{name: "io_uring_queue_async_work", choices: []choice{
			{tracepoint: "io_uring_queue_async_work", program: stagesProgOnPunt},
		}},
	}
	if !requests {
		return append(ring,
			hook{"block_bio_queue", true, []choice{{tracepoint: "block_bio_queue", program: stagesProgOnBio}}},
			hook{"block_bio_complete", true, []choice{{tracepoint: "block_bio_complete", program: stagesProgOnBioComplete}}})
	}
	return append(ring, requestHooks()...)
}

// requestHooks are those of a device that makes requests. The programs bear the
// same names in bpf/stages.c and bpf/live.c.
func requestHooks() []hook {
	return []hook{
		{"block_io_start", true, []choice{
			{tracepoint: "block_io_start", program: stagesProgOnStart, since: "6.5", with: []hook{
				{"block_rq_issue", true, []choice{{tracepoint: "block_rq_issue", program: stagesProgOnIssue}}},
			}},
			byBio(),
		}},
		{"block_rq_complete", true, []choice{{tracepoint: "block_rq_complete", program: stagesProgOnComplete}}},
	}
}

// byBio knows a request by the bio that it carries.
func byBio() choice {
	return choice{tracepoint: "block_bio_queue", program: stagesProgOnBio, with: []hook{
		{"block_rq_issue", true, []choice{{tracepoint: "block_rq_issue", program: stagesProgOnIssueBio}}},
		{"block_split", true, []choice{{tracepoint: "block_split", program: stagesProgOnSplit}}},
	}}
}

// choose asks the running kernel.
func choose(hooks []hook) ([]choice, []Feature, error) {
	kernel := kernelTracepoints()
	if kernel.err != nil {
		return nil, nil, &UnavailableError{Missing: []string{"BTF of the running kernel"}, Err: kernel.err}
	}
	picked, features, missing := kernel.pick(hooks)
	if len(missing) > 0 {
		return nil, nil, &UnavailableError{Missing: missing}
	}
	return picked, features, nil
}

func (p *Probe) load(slots int) error {
	spec, err := loadStages()
	if err != nil {
		return err
	}
	keep := map[string]bool{stagesProgWhoami: true}
	for _, c := range p.picked {
		keep[c.program] = true
	}
	spec.Maps[stagesMapSlots].MaxEntries = uint32(slots)
	set := map[string]any{stagesVarDevice: p.target.watched()}
	if !p.target.hasQueue() {
		set[stagesVarBioDevice] = p.target.self
	}
	if p.coll, err = loadCollection(spec, keep, set); err != nil {
		return err
	}
	if p.slots, err = mapSlots(p.coll.Maps[stagesMapSlots]); err != nil {
		p.coll.Close()
		return err
	}
	return nil
}

// loadCollection loads the programs in keep, with the constants in set.
func loadCollection(spec *ebpf.CollectionSpec, keep map[string]bool, set map[string]any) (*ebpf.Collection, error) {
	for name := range spec.Programs {
		if !keep[name] {
			delete(spec.Programs, name)
		}
	}
	for name, value := range set {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("setting %s of the kernel probes: %w", name, err)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if no := refused(err); no != nil {
		return nil, no
	}
	if err != nil {
		return nil, fmt.Errorf("loading the kernel probes: %w", err)
	}
	return coll, nil
}

// attach puts each program on its tracepoint.
func attach(coll *ebpf.Collection, picked []choice) ([]link.Link, error) {
	var links []link.Link
	for _, c := range picked {
		l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[c.program]})
		if err != nil {
			err = fmt.Errorf("attaching a kernel probe to tracepoint %s: %w", c.tracepoint, err)
			return nil, errors.Join(err, detach(links))
		}
		links = append(links, l)
	}
	return links, nil
}

func detach(links []link.Link) error {
	var errs []error
	for _, l := range links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Pause detaches the programs: I/O costs what it costs without probes, and no
// stamps are taken. It takes milliseconds; it is not for the I/O path.
func (p *Probe) Pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := p.links
	p.links = nil
	p.attached.Store(false)
	return detach(links)
}

// Resume attaches them again.
func (p *Probe) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.links != nil {
		return nil
	}
	links, err := attach(p.coll, p.picked)
	if err != nil {
		return err
	}
	p.links = links
	p.attached.Store(true)
	return nil
}

// Device names the block device that is watched: "sda".
func (p *Probe) Device() string { return p.target.name }

// HasRequests reports whether the device makes block requests. If not (zram,
// device-mapper), stage Queue is not told, and Device is the time from handing
// over the bio to its end.
func (p *Probe) HasRequests() bool { return p.target.hasQueue() }

// Features lists what was asked of the kernel, with the answers.
func (p *Probe) Features() []Feature { return p.features }

// Counts are events that leave an I/O without its stages.
type Counts struct {
	Foreign uint64 `json:"foreign"` // requests on the device that no watched thread made
	Punted  uint64 `json:"punted"`  // io_uring requests that the kernel gave to a worker thread
	Partial uint64 `json:"partial"` // completions of a part of a request
}

// Counts reads the kernel's counters since Open.
func (p *Probe) Counts() (Counts, error) {
	var c Counts
	for name, to := range map[string]*uint64{
		stagesVarForeign: &c.Foreign, stagesVarPunted: &c.Punted, stagesVarPartial: &c.Partial,
	} {
		if err := p.coll.Variables[name].Get(to); err != nil {
			return Counts{}, fmt.Errorf("reading counter %s of the kernel probes: %w", name, err)
		}
	}
	return c, nil
}

// Close detaches and frees everything. Watches must be closed first: the
// memory that Take reads goes away.
func (p *Probe) Close() error {
	err := p.Pause()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return err
	}
	p.closed = true
	err = errors.Join(err, p.slots.close())
	p.coll.Close()
	return err
}
