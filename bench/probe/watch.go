package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Watch is a thread's permission to be stamped, with the slots of one queue.
type Watch struct {
	// SlotBase goes into blockdev.QueueOptions.
	SlotBase uint16

	p     *Probe
	depth int
	tid   uint32
}

// thread counts the watches of a thread: queues of one thread share it.
type thread struct {
	watches  int
	blocking bool
}

// Watch binds the calling thread, which must stay locked
// (runtime.LockOSThread) and do the queue's I/O until Close, and reserves a
// slot for each of depth requests in flight. Blocking says that the engine
// calls pread and pwrite instead of io_uring: such a thread has one request in
// flight, one queue, and its stamps come under SlotBase.
func (p *Probe) Watch(depth int, blocking bool) (*Watch, error) {
	if depth < 1 || (blocking && depth != 1) {
		return nil, fmt.Errorf("watching a queue of depth %d: a blocking engine has depth 1, others at least 1", depth)
	}
	tid, err := p.coll.Programs[stagesProgWhoami].Run(nil)
	if err != nil {
		return nil, fmt.Errorf("asking for the thread's id: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base, ok := p.free.take(depth)
	if !ok {
		return nil, fmt.Errorf("watching a queue of depth %d: no %d slots in a row are free of %d", depth, depth, len(p.free))
	}
	w := &Watch{SlotBase: uint16(base), p: p, depth: depth, tid: tid}
	if err := p.bind(w, blocking); err != nil {
		p.free.give(base, depth)
		return nil, err
	}
	return w, nil
}

func (p *Probe) bind(w *Watch, blocking bool) error {
	if t := p.threads[w.tid]; t != nil {
		if t.blocking || blocking {
			return errors.New("watching a blocking queue: its thread is watched already")
		}
		t.watches++
		return nil
	}
	entry := stagesThread{Slot: uint32(w.SlotBase)}
	if blocking {
		entry.Blocking = 1
	}
	if err := p.coll.Maps[stagesMapThreads].Put(w.tid, &entry); err != nil {
		return fmt.Errorf("telling the kernel probes of a thread: %w", err)
	}
	p.threads[w.tid] = &thread{watches: 1, blocking: blocking}
	return nil
}

// Close gives back the slots; the thread's last watch unbinds it.
func (w *Watch) Close() error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.threads[w.tid]
	if t == nil || w.depth == 0 {
		return nil
	}
	p.free.give(int(w.SlotBase), w.depth)
	w.depth = 0
	if t.watches--; t.watches > 0 {
		return nil
	}
	delete(p.threads, w.tid)
	if err := p.coll.Maps[stagesMapThreads].Delete(w.tid); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("telling the kernel probes of a thread's end: %w", err)
	}
	return nil
}

// ranges hands out slots in a row: true is taken.
type ranges []bool

func newRanges(n int) ranges { return make(ranges, n) }

func (r ranges) take(n int) (base int, ok bool) {
	run := 0
	for i, taken := range r {
		if run++; taken {
			run = 0
		}
		if run == n {
			r.mark(i+1-n, n, true)
			return i + 1 - n, true
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
