package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Live watches the latency of any block device, whoever uses it. The kernel
// keeps the histograms; nothing is sent per I/O.
type Live struct {
	target   target
	features []Feature
	coll     *ebpf.Collection
	links    []link.Link
}

// OpenLive starts watching the block device at path, or the one that holds the
// file at path; a partition is watched alone. It fails as Open does.
func OpenLive(path string) (*Live, error) { return openLive(path, (*target).liveHooks) }

func openLive(path string, hooks func(*target) []hook) (*Live, error) {
	t, err := resolve(path)
	if err != nil {
		return nil, err
	}
	picked, features, err := choose(hooks(&t))
	if err != nil {
		return nil, err
	}
	l := &Live{target: t, features: features}
	if l.coll, err = t.loadLive(picked); err != nil {
		return nil, err
	}
	if l.links, err = attach(l.coll, picked); err != nil {
		l.coll.Close()
		return nil, err
	}
	return l, nil
}

func (t *target) liveHooks() []hook {
	if t.paths {
		return []hook{
			{"block_bio_queue", true, []choice{byBio()}},
			{"block_rq_complete", true, []choice{{tracepoint: "block_rq_complete", program: liveProgOnComplete}}},
		}
	}
	if !t.requests {
		return []hook{
			{"block_bio_queue", true, []choice{{tracepoint: "block_bio_queue", program: liveProgOnBio}}},
			{"block_bio_complete", true, []choice{{tracepoint: "block_bio_complete", program: liveProgOnBioComplete}}},
		}
	}
	return requestHooks()
}

func (t *target) loadLive(picked []choice) (*ebpf.Collection, error) {
	spec, err := loadLive()
	if err != nil {
		return nil, err
	}
	set := map[string]any{liveVarDevice: t.watched(), liveVarBioDevice: t.self, liveVarFirstSector: t.first, liveVarLastSector: t.last}
	if t.paths {
		set[liveVarFirstSector], set[liveVarLastSector] = uint64(0), ^uint64(0) // the bio's device counts
	}
	keep := map[string]bool{}
	for _, c := range picked {
		keep[c.program] = true
	}
	return loadCollection(spec, keep, set)
}

// Device names the block device that is watched: "sda1".
func (l *Live) Device() string { return l.target.name }

// HasRequests is that of Probe: without requests there is no queue stage.
func (l *Live) HasRequests() bool { return l.target.hasQueue() }

// Features lists what was asked of the kernel, with the answers.
func (l *Live) Features() []Feature { return l.features }

// Read returns what was counted since OpenLive.
func (l *Live) Read() (Snapshot, error) {
	s := Snapshot{}
	for stage := range LiveStages {
		for op := range LiveOps {
			if err := l.read(&s.Histograms[stage][op], int(stage)*int(LiveOps)+int(op)); err != nil {
				return Snapshot{}, fmt.Errorf("reading the histogram of %s, %s: %w", op, stage, err)
			}
		}
	}
	if err := l.coll.Variables[liveVarUnmatched].Get(&s.Unmatched); err != nil {
		return Snapshot{}, fmt.Errorf("reading the count of unmatched requests: %w", err)
	}
	return s, nil
}

// read adds up the processors' shares.
func (l *Live) read(h *Histogram, key int) error {
	var shares []liveHistogram
	if err := l.coll.Maps[liveMapHistograms].Lookup(uint32(key), &shares); err != nil {
		return err
	}
	for _, share := range shares {
		h.Sum += share.Sum
		h.Max = max(h.Max, share.Max)
		for i, n := range share.Counts {
			h.Counts[i] += n
			h.Count += n
		}
	}
	return nil
}

// Close detaches and frees everything.
func (l *Live) Close() error {
	err := detach(l.links)
	l.links = nil
	l.coll.Close()
	if err != nil {
		return errors.Join(errors.New("detaching the kernel probes"), err)
	}
	return nil
}
