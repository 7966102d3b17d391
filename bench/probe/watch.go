package probe

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"sealbay/blockcrypt/blockdev"
)

// Watch is the slots of one queue. Put SlotBase into the queue's options, open
// the queue, then Bind.
type Watch struct {
	// SlotBase goes into blockdev.QueueOptions.
	SlotBase uint16

	p     *Probe
	depth int
}

// Watch reserves a slot for each of depth requests in flight.
func (p *Probe) Watch(depth int) (*Watch, error) {
	if depth < 1 {
		return nil, fmt.Errorf("watching a queue of depth %d: must be at least 1", depth)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base, ok := p.free.take(depth)
	if !ok {
		return nil, fmt.Errorf("watching a queue of depth %d: so many slots in a row are not free of %d", depth, len(p.free))
	}
	return &Watch{SlotBase: uint16(base), p: p, depth: depth}, nil
}

// Bind tells the kernel's programs which threads do the queue's I/O: those of
// a blockdev.Threaded queue, else the calling thread, which must stay locked
// (runtime.LockOSThread). Where several queues share a thread, Bind each
// before its run: of a thread that makes blocking calls, the latest Bind
// holds.
func (w *Watch) Bind(q blockdev.Queue) error {
	self, err := w.p.coll.Programs[stagesProgWhoami].Run(nil)
	if err != nil {
		return fmt.Errorf("asking for the thread's id: %w", err)
	}
	t, ok := q.(blockdev.Threaded)
	if !ok || len(t.Threads()) == 0 {
		return w.put(self, stagesThread{Slot: uint32(w.SlotBase)})
	}
	tids, err := inKernel(t.Threads(), int(self))
	if err != nil {
		return err
	}
	if len(tids) > w.depth {
		return fmt.Errorf("binding a queue of %d threads: its watch has depth %d", len(tids), w.depth)
	}
	for i, tid := range tids {
		if err := w.put(uint32(tid), stagesThread{Slot: uint32(w.SlotBase) + uint32(i), Blocking: 1}); err != nil {
			return err
		}
	}
	return nil
}

// inKernel returns the kernel's own ids of threads. They differ in a PID
// namespace, where only the caller's can be asked for; self is that.
func inKernel(tids []int, self int) ([]int, error) {
	caller := unix.Gettid()
	switch {
	case self == caller:
		return tids, nil
	case len(tids) == 1 && tids[0] == caller:
		return []int{self}, nil
	}
	return nil, errors.New("binding the threads of a blocking queue: in a PID namespace (a container) their ids are not the kernel's; use io_uring, depth 1, or the host's namespace")
}

// boundThread is who stands at a place of the kernel's array.
type boundThread struct {
	tid uint32
	by  *Watch
}

func (w *Watch) put(tid uint32, t stagesThread) error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	place, err := p.place(tid)
	if err != nil {
		return err
	}
	t.Tid = tid
	if err := p.coll.Maps[stagesMapThreads].Put(place, &t); err != nil {
		return fmt.Errorf("telling the kernel probes of a thread: %w", err)
	}
	p.bound[place] = boundThread{tid, w}
	return nil
}

// place returns where a thread stands in the kernel's array: at its id, or
// behind where another thread of ours has that place.
func (p *Probe) place(tid uint32) (uint32, error) {
	n := p.coll.Maps[stagesMapThreads].MaxEntries()
	for _, place := range []uint32{tid % n, (tid + 1) % n} {
		if t, taken := p.bound[place]; !taken || t.tid == tid {
			return place, nil
		}
	}
	return 0, fmt.Errorf("watching thread %d: both its places are taken by other threads", tid)
}

// Close unbinds the threads and gives back the slots. Close the queue first.
func (w *Watch) Close() error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.depth == 0 {
		return nil
	}
	p.free.give(int(w.SlotBase), w.depth)
	w.depth = 0
	var errs []error
	for place, t := range p.bound {
		if t.by != w {
			continue
		}
		delete(p.bound, place)
		if err := p.coll.Maps[stagesMapThreads].Put(place, &stagesThread{}); err != nil {
			errs = append(errs, fmt.Errorf("telling the kernel probes of a thread's end: %w", err))
		}
	}
	return errors.Join(errs...)
}

// ranges hands out slots in a row: true is taken.
type ranges []bool

func newRanges(n int) ranges { return make(ranges, n) }

func (r ranges) take(n int) (base int, ok bool) {
	for base := 0; base+n <= len(r); base++ {
		if !slices.Contains(r[base:base+n], true) {
			r.mark(base, n, true)
			return base, true
		}
	}
	return 0, false
}

func (r ranges) give(base, n int) { r.mark(base, n, false) }

func (r ranges) mark(base, n int, taken bool) {
	for i := range n {
		r[base+i] = taken
	}
}
